"""Wasserstein GAN with gradient penalty on two moons."""
import torch
from sklearn.datasets import make_moons
from torch import autograd, nn

torch.manual_seed(11)
data, _ = make_moons(4000, noise=0.05, random_state=0)
data = torch.tensor(data, dtype=torch.float32)
data = (data - data.mean(0)) / data.std(0)


def mlp(n_in, n_out, width=64):
    return nn.Sequential(
        nn.Linear(n_in, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, n_out),
    )


generator, critic = mlp(4, 2), mlp(2, 1)
g_opt = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
c_opt = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.9))


def gradient_penalty(real, fake):
    alpha = torch.rand(len(real), 1)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    (grad,) = autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def batches(size):
    while True:
        yield from data[torch.randperm(len(data))].split(size)


stream = batches(100)
for iteration in range(250):
    for _ in range(4):
        real = next(stream)
        with torch.no_grad():
            fake = generator(torch.randn(len(real), 4))
        c_loss = critic(fake).mean() - critic(real).mean() + 5 * gradient_penalty(real, fake)
        c_opt.zero_grad(set_to_none=True)
        c_loss.backward()
        c_opt.step()

    g_loss = -critic(generator(torch.randn(100, 4))).mean()
    g_opt.zero_grad(set_to_none=True)
    g_loss.backward()
    g_opt.step()
    if iteration % 50 == 0:
        print(f"{iteration:4d} critic {c_loss.item():+.3f} generator {g_loss.item():+.3f}")

with torch.no_grad():
    fake = generator(torch.randn(1000, 4))
print(f"mean distance to the data {torch.cdist(fake, data).min(1).values.mean():.3f}")
