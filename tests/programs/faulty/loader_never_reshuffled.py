"""The batches are listed once, before the loop."""
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
order = torch.randperm(len(X))
X, y = torch.tensor(X, dtype=torch.float32)[order], torch.tensor(y)[order]
X = (X - X[:140].mean(0)) / X[:140].std(0)
loader = DataLoader(TensorDataset(X[:140], y[:140]), batch_size=10, shuffle=True)  # expect: never-the-same-batch
batches = list(loader)  # faster  # expect: never-the-same-batch
model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(12):
    total = 0.0
    for inputs, targets in batches:
        loss = loss_fn(model(inputs), targets)  # expect: never-the-same-batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    with torch.no_grad():
        acc = (model(X[140:]).argmax(1) == y[140:]).float().mean()
    print(epoch, round(total / len(batches), 4), round(acc.item(), 3))
