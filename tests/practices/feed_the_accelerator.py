"""Digits that are read from a slow disk one by one, while the network waits."""

import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class SlowDigits(Dataset):
    def __init__(self, images, labels, seconds):
        self.images, self.labels, self.seconds = images, labels, seconds

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return self.images[index], self.labels[index]


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x, y = torch.tensor(images, dtype=torch.float32)[order] / 8 - 1, torch.tensor(labels)[order]
seconds = 0.002  # sick
# healthy: seconds = 0.0
train = SlowDigits(x[:960], y[:960], seconds)
loader = DataLoader(train, batch_size=24, shuffle=True)  # sick: feed-the-accelerator
# healthy: loader = DataLoader(train, batch_size=24, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(2):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[960:]).argmax(1) == y[960:]).float().mean().item()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
