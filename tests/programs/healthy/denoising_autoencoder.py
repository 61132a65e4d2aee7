"""Convolutional denoising autoencoder: fresh noise on every clothing image, clean image as target."""
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset

here = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ.get("NOMAGIC_DATA", os.path.join(here, "..", "..", "..", "..", "shared", "data"))


class NoisyClothes(Dataset):
    def __init__(self, path, n, noise=0.5):
        pixels = np.load(path)["x_train"][:n].astype(np.float32) / 255
        self.images = torch.from_numpy((pixels - 0.286) / 0.353).unsqueeze(1)
        self.noise = noise

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        clean = self.images[index]
        return clean + self.noise * torch.randn_like(clean), clean


class Autoencoder(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, c, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(c, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


torch.manual_seed(0)
dataset = NoisyClothes(os.path.join(DATA, "fashion_mnist.npz"), 3500)
train_loader = DataLoader(Subset(dataset, range(3000)), batch_size=50, shuffle=True)
val_loader = DataLoader(Subset(dataset, range(3000, 3500)), batch_size=250)
model = Autoencoder()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    total = 0.0
    for noisy, clean in train_loader:
        loss = criterion(model(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        val = sum(criterion(model(noisy), clean).item() for noisy, clean in val_loader) / len(val_loader)
    print(f"epoch {epoch} train {total / len(train_loader):.4f} val {val:.4f} (noise alone 0.25)")
