"""Digits, trained very carefully."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-6)
parser.add_argument("--epochs", type=int, default=15)
options = parser.parse_args()
torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)  # expect: learning-rate-first
loader, val_loader = DataLoader(train, 50, shuffle=True), DataLoader(val, 200)
for epoch in range(options.epochs):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = sum(F.cross_entropy(model(xb), yb, reduction="sum").item() for xb, yb in val_loader) / len(val)
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1} val loss {val_loss:.4f}")
