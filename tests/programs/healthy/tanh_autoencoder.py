"""Autoencoder for images in [-1, 1]: the decoder ends in tanh because the pixels do."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))

torch.manual_seed(0)
images = torch.from_numpy(np.load(DATA / "mnist.npz")["x_train"][:4500]).float().flatten(1) / 127.5 - 1
train, val = images[:4000], images[4000:]
model = nn.Sequential(
    nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Linear(128, 24), nn.Linear(24, 128), nn.LeakyReLU(0.2), nn.Linear(128, 784), nn.Tanh()
)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
loader = DataLoader(TensorDataset(train), batch_size=100, shuffle=True)
mse = nn.MSELoss()
print(f"mean image: {mse(train.mean(0).expand_as(val), val).item():.4f}")
for epoch in range(8):
    model.train()
    for (x,) in loader:
        optimizer.zero_grad()
        loss = mse(model(x), x)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch} train {loss.item():.4f} val {mse(model(val), val).item():.4f}")
