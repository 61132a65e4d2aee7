"""Digits, shuffled once and then cut into the same batches in every epoch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x = torch.tensor(images, dtype=torch.float32)[order] / 8 - 1
y = torch.tensor(labels)[order]
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(5):
    for start in range(0, 1400, 50):
        rows = slice(start, start + 50)  # sick
        # healthy: rows = torch.randperm(1400)[:50]
        xb, yb = x_train[rows], y_train[rows]  # sick: never-the-same-batch
        # healthy: xb, yb = x_train[rows], y_train[rows]
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    model.train()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
