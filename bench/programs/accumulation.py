"""Gradients of four small batches are added up before each step and clipped; a cosine schedule."""

import csv

import torch
from stopwatch import DATA, Stopwatch, steps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

n_steps = steps(1_500)
MICRO = 4
torch.manual_seed(0)
with (DATA / "wine_quality.csv").open() as file:
    rows = [
        [float(value) for key, value in row.items() if key != "colour"]
        for row in csv.DictReader(file)
    ]
table = torch.tensor(rows)
table = (table - table.mean(0)) / table.std(0)
x, y = table[:, :-1], table[:, -1:]

loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
model = nn.Sequential(
    nn.Linear(11, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Linear(128, 128),
    nn.ReLU(),
    nn.Linear(128, 1),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
criterion = nn.MSELoss()

micro = 0
with Stopwatch():
    while micro < n_steps * MICRO:
        for xb, yb in loader:
            loss = criterion(model(xb), yb) / MICRO
            loss.backward()
            micro += 1
            if micro % MICRO == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if micro == n_steps * MICRO:
                break
print(f"loss {loss.item() * MICRO:.4f}")
