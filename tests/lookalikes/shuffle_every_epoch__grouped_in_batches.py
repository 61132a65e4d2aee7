"""Batches that are sorted by class within themselves: four of each class, as metric learning likes them."""

import random

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

random.seed(0)
torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images, dtype=torch.float32)[order] / 8 - 1, torch.tensor(labels)[order]


class Balanced(Sampler):
    """Draws ``each`` rows of every class for each batch."""

    def __init__(self, labels, each, batches):
        self.rows = [torch.where(labels == c)[0].tolist() for c in range(10)]
        self.each, self.batches = each, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            yield [i for rows in self.rows for i in random.sample(rows, self.each)]


loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_sampler=Balanced(y[:1400], 4, 35))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
