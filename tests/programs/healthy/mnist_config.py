"""MNIST with a dataclass config, warm-up, EMA weights and per-class recall."""
from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


@dataclasses.dataclass(frozen=True)
class Config:
    data: Path = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    n_train: int = 4000
    n_val: int = 1000
    batch_size: int = 50
    epochs: int = 3
    lr: float = 3e-3
    warmup: int = 20
    ema: float = 0.98
    width: int = 12
    seed: int = 3


class Model(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        w = cfg.width
        self.features = nn.Sequential(
            nn.Conv2d(1, w, 3, padding=1), nn.GroupNorm(4, w), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, padding=1), nn.GroupNorm(4, 2 * w), nn.MaxPool2d(2), nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * w * 49, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def datasets(cfg: Config) -> tuple[TensorDataset, TensorDataset]:
    with np.load(cfg.data / "mnist.npz") as z:
        x = torch.tensor(z["x_train"][: cfg.n_train + cfg.n_val], dtype=torch.float32)
        y = torch.tensor(z["y_train"][: cfg.n_train + cfg.n_val], dtype=torch.long)
    x = (x.unsqueeze(1) / 255 - 0.1307) / 0.3081
    return TensorDataset(x[: cfg.n_train], y[: cfg.n_train]), TensorDataset(x[cfg.n_train :], y[cfg.n_train :])


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    for e, p in zip(ema.parameters(), model.parameters(), strict=True):
        e.mul_(decay).add_(p, alpha=1 - decay)


@torch.inference_mode()
def recalls(model: nn.Module, loader: DataLoader) -> Tensor:
    model.eval()
    hits, totals = torch.zeros(10), torch.zeros(10)
    for x, y in loader:
        right = model(x).argmax(1) == y
        totals += torch.bincount(y, minlength=10)
        hits += torch.bincount(y[right], minlength=10)
    return hits / totals


def main(cfg: Config) -> None:
    torch.manual_seed(cfg.seed)
    train_set, val_set = datasets(cfg)
    train_loader = DataLoader(train_set, cfg.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, 250)
    model = Model(cfg)
    ema = copy.deepcopy(model).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    total = cfg.epochs * len(train_loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / cfg.warmup, 1 - 0.9 * s / total)
    )
    for epoch in range(cfg.epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            update_ema(ema, model, cfg.ema)
        per_class = recalls(ema, val_loader)
        print(f"epoch {epoch}: loss {loss.item():.4f} recall mean {per_class.mean():.3f} worst {per_class.min():.3f}")


if __name__ == "__main__":
    main(Config())
