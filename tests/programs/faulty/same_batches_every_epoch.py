"""Batches are cut from the arrays by hand, in the same places every time."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
order = torch.randperm(len(X))
X = torch.tensor(X, dtype=torch.float32)[order]
y = torch.tensor(y, dtype=torch.float32)[order]
X = (X - X[:450].mean(0)) / X[:450].std(0)
X_train, y_train, X_val, y_val = X[:450], y[:450], X[450:], y[450:]

BATCH = 30
model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
for epoch in range(12):
    for start in range(0, len(X_train), BATCH):
        inputs = X_train[start : start + BATCH]  # expect: never-the-same-batch
        targets = y_train[start : start + BATCH]
        outputs = model(inputs).squeeze(1)  # expect: never-the-same-batch
        loss = F.binary_cross_entropy_with_logits(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = ((model(X_val).squeeze(1) > 0) == y_val.bool()).float().mean()
    if epoch % 3 == 2:
        print(epoch + 1, round(loss.item(), 4), round(acc.item(), 3))
