"""California housing; the target is a vector, the output a column."""
# consequence: overfit-one-batch
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def load():
    with gzip.open(DATA / "california_housing.csv.gz", "rt") as f:
        rows = [line.split(",")[:9] for line in f][1:]
    table = np.array([r for r in rows if all(r)], dtype=np.float64)
    table[:, 3:] = np.log(table[:, 3:])
    np.random.default_rng(0).shuffle(table)
    table = (table - table[:5000].mean(0)) / table[:5000].std(0)
    table = torch.tensor(table[:6000], dtype=torch.float32)
    return table[:, :8], table[:, 8]


def train_one_epoch(model, loader, optimizer, loss_fn):
    model.train()
    for x, y in loader:
        pred = model(x)
        loss = loss_fn(pred, y)  # expect: loss-shapes-match  # expect-severity: fault
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


torch.manual_seed(0)
x, y = load()
loader = DataLoader(TensorDataset(x[:5000], y[:5000]), batch_size=100, shuffle=True)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(6):
    train_one_epoch(model, loader, optimizer, nn.MSELoss())
    model.eval()
    with torch.no_grad():
        error = (model(x[5000:]).squeeze(1) - y[5000:]).pow(2).mean()
    print(f"epoch {epoch} val mse {error:.4f}")
