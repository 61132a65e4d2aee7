"""A discriminator collects gradients from the generator's backward and clears them before its own."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
fool = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
judge = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))

for step in range(150):
    angle = 6.28 * torch.rand(64, 1)
    real = torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2)
    fake = generator(torch.randn(64, 4))

    fool.zero_grad()
    F.softplus(-critic(fake)).mean().backward()
    fool.step()

    for parameter in critic.parameters():
        parameter.grad = None
    F.softplus(critic(fake.detach())).mean().backward()
    F.softplus(-critic(real)).mean().backward()
    judge.step()

with torch.no_grad():
    print("radius", generator(torch.randn(500, 4)).norm(dim=1).mean().item())
