"""A small denoising diffusion model for points on a spiral."""
import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Config:
    steps: int = 50
    width: int = 96
    batch: int = 256
    iterations: int = 1200
    lr: float = 2e-3
    seed: int = 0


class Denoiser(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(100), 16)))
        self.time = nn.Linear(32, cfg.width)
        self.inp = nn.Linear(2, cfg.width)
        self.mid = nn.ModuleList([nn.Linear(cfg.width, cfg.width) for _ in range(2)])
        self.out = nn.Linear(cfg.width, 2)

    def forward(self, x, t):
        angle = t[:, None] * self.freq
        h = self.inp(x) + self.time(torch.cat([angle.sin(), angle.cos()], 1))
        for layer in self.mid:
            h = h + layer(nn.functional.silu(h))
        return self.out(nn.functional.silu(h))


def spiral(n):
    r = torch.rand(n, 1).sqrt()
    points = r * torch.cat([torch.cos(9 * r), torch.sin(9 * r)], 1)
    return 2 * points + 0.02 * torch.randn(n, 2)


def main(cfg):
    torch.manual_seed(cfg.seed)
    beta = torch.linspace(1e-3, 0.15, cfg.steps)
    alpha_bar = torch.cumprod(1 - beta, 0)
    model = Denoiser(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.iterations)
    average = 1.0
    for it in range(cfg.iterations):
        x0, eps = spiral(cfg.batch), torch.randn(cfg.batch, 2)
        t = torch.randint(0, cfg.steps, (cfg.batch,))
        a = alpha_bar[t, None]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
        loss = nn.functional.mse_loss(model(xt, t / cfg.steps), eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average += 0.02 * (loss.item() - average)
        if it % 300 == 299:
            print(f"iteration {it + 1} loss {average:.3f}")

    model.eval()
    with torch.no_grad():
        x = torch.randn(1000, 2)
        for i in reversed(range(cfg.steps)):
            t = torch.full((len(x),), i / cfg.steps)
            x = (x - beta[i] / (1 - alpha_bar[i]).sqrt() * model(x, t)) / (1 - beta[i]).sqrt()
            if i:
                x = x + beta[i].sqrt() * torch.randn_like(x)
    print(f"mean distance to the spiral {torch.cdist(x, spiral(2000)).min(1).values.mean():.3f}")


if __name__ == "__main__":
    main(Config())
