"""California house values straight from the table: rooms in thousands, degrees, dollars / 100000."""
import csv
import gzip
import os
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class HouseNet(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.a = nn.Linear(n_in, 64)
        self.b = nn.Linear(64, 32)
        self.c = nn.Linear(32, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x))))).squeeze(1)


def read(limit):
    with gzip.open(DATA / "california_housing.csv.gz", "rt") as f:
        rows = [r for r in csv.DictReader(f) if r["total_bedrooms"]]
    names = [k for k in rows[0] if k not in ("median_house_value", "ocean_proximity")]
    x = torch.tensor([[float(r[k]) for k in names] for r in rows])
    y = torch.tensor([float(r["median_house_value"]) for r in rows]) / 100_000
    keep = torch.randperm(len(x))[:limit]
    return x[keep], y[keep]


torch.manual_seed(0)
x, y = read(5000)
loader = DataLoader(TensorDataset(x[:4000], y[:4000]), batch_size=80, shuffle=True)
model = HouseNet(x.shape[1])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(8):
    model.train()
    for inputs, target in loader:
        prediction = model(inputs)  # expect: standardise-input
        loss = nn.functional.mse_loss(prediction, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(model(x[4000:]), y[4000:])
    print(f"epoch {epoch} train {loss.item():.3f} val {val.item():.3f}")
