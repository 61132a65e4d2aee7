"""A variational autoencoder: random draws inside the forward."""

import numpy as np
import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(9)
shape = np.random.rand(300, 2)
grid = np.stack(np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 8)), -1).reshape(-1, 2)
x = torch.tensor(np.exp(-20 * ((grid[None] - shape[:, None]) ** 2).sum(-1)), dtype=torch.float32)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ELU(), nn.Linear(32, 2 * 2))
        self.decoder = nn.Sequential(nn.Linear(2, 32), nn.ELU(), nn.Linear(32, 64))

    def forward(self, x):
        mean, logvar = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        return self.decoder(z), mean, logvar


model = VAE()
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for epoch in range(6):
    total = 0.0
    for batch in x[torch.randperm(300)].split(30):
        logits, mean, logvar = model(batch)
        rebuilt = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum") / 30
        kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / 30
        loss = rebuilt + kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(epoch, repr(total), repr(kl.item()))
with torch.no_grad():
    print(repr(model.decoder(torch.randn(4, 2)).sigmoid().mean().item()))
finish(model, optimizer)
