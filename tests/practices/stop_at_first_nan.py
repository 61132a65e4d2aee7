"""Digits with a group lasso; its root has no slope at the biases, which start at zero."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, digits = load_digits(return_X_y=True)
images = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
train_x, test_x, train_y, test_y = train_test_split(
    images, torch.tensor(digits), test_size=0.3, random_state=0, stratify=digits
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
for layer in (model[0], model[2]):
    nn.init.zeros_(layer.bias)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()


def lasso(groups):
    total = 0.0
    for group in groups:
        total = total + torch.sqrt(group.pow(2).sum())  # sick: stop-at-first-nan
        # healthy: total = total + torch.sqrt(group.pow(2).sum() + 1e-8)
    return total


for epoch in range(8):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y) + 1e-3 * lasso(model.parameters())
        loss.backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
