"""Variational autoencoder on MNIST (pixel probabilities, Bernoulli likelihood)."""
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class VAE(nn.Module):
    def __init__(self, hidden=256, latent=12):
        super().__init__()
        self.fc1 = nn.Linear(784, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, 784)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return self.fc4(F.relu(self.fc3(z)))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 784))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_logits, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon_logits, x.view(-1, 784), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def main():
    torch.manual_seed(1)
    with np.load(DATA / "mnist.npz") as z:
        images = torch.from_numpy(z["x_train"][:5000]).float() / 255
    train_loader = DataLoader(TensorDataset(images[:4000]), batch_size=100, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[4000:]), batch_size=500)
    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(1, 9):
        model.train()
        train_loss = 0.0
        for (data,) in train_loader:
            optimizer.zero_grad()
            recon, mu, logvar = model(data)
            loss = loss_function(recon, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        model.eval()
        test_loss = 0.0
        with torch.no_grad():
            for (data,) in test_loader:
                recon, mu, logvar = model(data)
                test_loss += loss_function(recon, data, mu, logvar).item()
        print(f"====> Epoch: {epoch} train {train_loss / 4000:.2f} test {test_loss / 1000:.2f}")


if __name__ == "__main__":
    main()
