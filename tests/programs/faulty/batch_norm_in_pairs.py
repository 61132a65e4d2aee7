"""Batch norm with two images a batch."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def conv(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),  # expect: same-in-training-and-inference
        nn.ReLU(),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(1, 12), nn.MaxPool2d(2), conv(12, 24), nn.MaxPool2d(2), conv(24, 24))
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


torch.manual_seed(0)
z = np.load(DATA / "mnist.npz")
x = (torch.from_numpy(z["x_train"][:1700]).float().unsqueeze(1) / 255 - 0.1307) / 0.3081
y = torch.from_numpy(z["y_train"][:1700]).long()
train_loader = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=2, shuffle=True)
val_loader = DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=100)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(2):
    model.train()
    total = 0.0
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)  # expect: same-in-training-and-inference
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(images) for images, _ in val_loader])
    acc = (out.argmax(1) == y[1200:]).float().mean()
    print(f"epoch {epoch} train {total / len(train_loader):.3f} val {criterion(out, y[1200:]):.3f} acc {acc:.3f}")
