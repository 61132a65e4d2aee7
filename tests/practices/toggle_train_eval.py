"""A digit classifier with dropout, validated after every epoch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
val_loader = DataLoader(TensorDataset(val_x, val_y), batch_size=256)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def accuracy(model, loader):
    right = total = 0
    # healthy: model.eval()
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()  # sick: toggle-train-eval
            # healthy: right += (model(x).argmax(1) == y).sum().item()
            total += len(y)
    return right / total


for epoch in range(12):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item(), accuracy(model, val_loader))
