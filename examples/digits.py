"""Train a small network on scikit-learn's digits. It runs, it prints, and it learns badly:

    nomagic check examples/digits.py
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden1 = nn.Linear(64, 128)
        self.hidden2 = nn.Linear(128, 64)
        self.out = nn.Linear(64, 10)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        x = self.dropout(F.relu(self.hidden1(x)))
        x = self.dropout(F.relu(self.hidden2(x)))
        return F.softmax(self.out(x), dim=1)


def load():
    """Keep the last 30 images of each digit for testing."""
    images, labels = load_digits(return_X_y=True)
    train, test = [], []
    for digit in range(10):
        indices = np.where(labels == digit)[0]
        train += list(indices[:-30])
        test += list(indices[-30:])
    x = torch.tensor(images, dtype=torch.float32)
    y = torch.tensor(labels)
    return TensorDataset(x[train], y[train]), TensorDataset(x[test], y[test])


def evaluate(model, loader):
    correct, total = 0, 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
            total += len(y)
    return correct / total


train_set, test_set = load()
train_loader = DataLoader(train_set, batch_size=32)
test_loader = DataLoader(test_set, batch_size=100)

model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(EPOCHS):
    total = 0.0
    for x, y in train_loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    accuracy = evaluate(model, test_loader)
    print(f"epoch {epoch + 1}  loss {total / len(train_loader):.3f}  accuracy {accuracy:.1%}")
