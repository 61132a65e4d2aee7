"""Digits, sorted by class, and a loader that reads them in that order."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
train, test = order[:1400], order[1400:]
x = torch.tensor(images, dtype=torch.float32) / 8 - 1
y = torch.tensor(labels)
train = train[y[train].argsort(stable=True)]

train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32)  # sick: shuffle-every-epoch
# healthy: train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(x[test], y[test]), batch_size=128)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            right += (model(xb).argmax(1) == yb).sum().item()
    print(f"epoch {epoch} accuracy {right / len(test):.3f}")
