"""Transfer: the head is replaced after the optimizer was made."""
# consequence: zero-grad
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class SmallNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU()
        )
        self.fc = nn.Linear(24 * 49, n_classes)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


def loader_for(x, y, first, n):
    keep = (y >= first) & (y < first + 5)
    return DataLoader(TensorDataset(x[keep][:n], y[keep][:n] - first), batch_size=50, shuffle=True)


def run_epoch(model, loader, optimizer):
    model.train()
    right = 0
    for xb, yb in loader:
        out = model(xb)
        loss = nn.functional.cross_entropy(out, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (out.argmax(1) == yb).sum().item()
    return right / len(loader.dataset)


torch.manual_seed(0)
z = np.load(DATA / "mnist.npz")
x = (torch.from_numpy(z["x_train"][:5000]).float().unsqueeze(1) / 255 - 0.1307) / 0.3081
y = torch.from_numpy(z["y_train"][:5000]).long()

model = SmallNet(5)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    print("low digits", run_epoch(model, loader_for(x, y, 0, 1500), optimizer))

for p in model.conv.parameters():
    p.requires_grad = False
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)  # expect: optimise-every-parameter  # expect-severity: fault
model.fc = nn.Linear(24 * 49, 5)
for epoch in range(4):
    print("high digits", run_epoch(model, loader_for(x, y, 5, 1500), optimizer))
