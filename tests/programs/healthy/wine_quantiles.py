"""Alcohol of a wine from its other measurements: three quantiles at once with the pinball loss."""
import csv
import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
QUANTILES = torch.tensor([0.1, 0.5, 0.9])


def load():
    with open(DATA / "wine_quality.csv") as f:
        rows = list(csv.DictReader(f))
    unique = {tuple(r.values()): r for r in rows}  # the file holds many exact repeats
    rows = list(unique.values())
    skip = ("alcohol", "quality", "colour")
    x = torch.tensor([[float(v) for k, v in r.items() if k not in skip] for r in rows])
    red = torch.tensor([[float(r["colour"] == "red")] for r in rows])
    y = torch.tensor([[float(r["alcohol"])] for r in rows])
    return torch.cat([x.clamp_min(1e-2).log(), red], 1), y


def pinball(pred, target):
    error = target - pred
    return torch.maximum(QUANTILES * error, (QUANTILES - 1) * error).mean()


torch.manual_seed(0)
x, y = load()
perm = torch.randperm(len(x))
train, val, test = perm[:3500], perm[3500:4300], perm[4300:]
x = (x - x[train].mean(0)) / x[train].std(0)
mu, sd = y[train].mean(), y[train].std()
y = (y - mu) / sd
model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=100, shuffle=True)
for epoch in range(12):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = pinball(model(xb), yb)
        loss.backward()
        optimizer.step()
    if epoch % 3 == 2:
        with torch.no_grad():
            out = model(x[val])
        inside = ((y[val] > out[:, :1]) & (y[val] < out[:, 2:])).float().mean()
        print(f"epoch {epoch + 1} val pinball {pinball(out, y[val]):.4f} inside the 80 % band {inside:.3f}")
with torch.no_grad():
    out = model(x[test])
print(f"test: median off by {(out[:, 1:2] - y[test]).abs().mean() * sd:.3f} % alcohol")
