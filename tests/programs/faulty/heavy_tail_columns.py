"""Income from the numeric census columns, z-scored; the capital columns have a long tail."""
import csv
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
COLUMNS = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]

torch.manual_seed(0)
with gzip.open(DATA / "adult_train.csv.gz", "rt") as f:
    rows = [row for row, _ in zip(csv.DictReader(f), range(7000))]
X = np.array([[float(r[c]) for c in COLUMNS] for r in rows])
y = np.array([float(r["income"] == ">50K") for r in rows])
X = (X - X[:6000].mean(0)) / X[:6000].std(0)
X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
train_loader = DataLoader(TensorDataset(X[:6000], y[:6000]), batch_size=100, shuffle=True)
val_loader = DataLoader(TensorDataset(X[6000:], y[6000:]), batch_size=500)
model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        loss = criterion(model(xb), yb)  # expect: tame-input-range
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        outs = [(model(xb), yb) for xb, yb in val_loader]
    acc = sum(((o > 0) == t.bool()).sum().item() for o, t in outs) / 1000
    print(f"epoch {epoch} loss {loss.item():.4f} val accuracy {acc:.3f}")
