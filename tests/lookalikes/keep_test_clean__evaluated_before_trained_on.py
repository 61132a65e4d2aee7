"""A stream: each batch is first predicted, then learnt from; the network is never scored on what it knows."""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images, dtype=torch.float32)[order] / 8 - 1, torch.tensor(labels)[order]
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss()
right = 0
for start in range(0, len(x), 16):
    xb, yb = x[start : start + 16], y[start : start + 16]
    model.eval()
    with torch.no_grad():
        right += (model(xb).argmax(1) == yb).sum().item()
    model.train()
    for again in range(3):
        loss = criterion(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"accuracy along the way {right / len(x):.3f}")
