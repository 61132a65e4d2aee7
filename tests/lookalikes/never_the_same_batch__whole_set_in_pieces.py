"""The whole training set for each step, in pieces that fit in memory; three rates from the same seed."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images, dtype=torch.float32)[order] / 8 - 1, torch.tensor(labels)[order]
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]


def train(rate):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(60):
        optimizer.zero_grad()
        for xb, yb in zip(x_train.split(200), y_train.split(200)):
            loss = F.cross_entropy(model(xb), yb) / 7
            loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return (model(x_test).argmax(1) == y_test).float().mean().item()


for rate in (1e-2, 2e-2, 3e-2):
    print(rate, f"{train(rate):.3f}")
