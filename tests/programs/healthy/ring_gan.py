"""A GAN that learns a ring of eight Gaussians."""
import math

import torch
import torch.nn as nn

torch.manual_seed(1)
LATENT, BATCH, STEPS = 8, 128, 1200

angles = torch.arange(8) * (2 * math.pi / 8)
centers = 1.2 * torch.stack([angles.cos(), angles.sin()], dim=1)


def sample_real(n):
    return centers[torch.randint(0, 8, (n,))] + 0.05 * torch.randn(n, 2)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def forward(self, x):
        return self.net(x)


G, D = Generator(), Discriminator()
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.9))
opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))
criterion = nn.BCEWithLogitsLoss()

for step in range(STEPS):
    # discriminator: real up, fake down
    real, fake = sample_real(BATCH), G(torch.randn(BATCH, LATENT))
    loss_d = criterion(D(real), torch.ones(BATCH, 1)) + criterion(D(fake.detach()), torch.zeros(BATCH, 1))
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()

    # generator: fool the discriminator
    loss_g = criterion(D(G(torch.randn(BATCH, LATENT))), torch.ones(BATCH, 1))
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()

    if step % 200 == 0:
        print(f"step {step:4d} D {loss_d.item():.3f} G {loss_g.item():.3f}")

with torch.no_grad():
    points = G(torch.randn(2000, LATENT))
    distance, nearest = torch.cdist(points, centers).min(1)
print(f"mean distance to the nearest mode {distance.mean():.3f}")
print("points per mode", nearest.bincount(minlength=8).tolist())
