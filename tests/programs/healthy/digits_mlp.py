# Handwritten digits with a small MLP, notebook style.
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

np.random.seed(42)
torch.manual_seed(42)

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=0)

mean, std = X_train.mean(), X_train.std()


def to_dataset(X, y):
    return TensorDataset(torch.tensor((X - mean) / std, dtype=torch.float32), torch.tensor(y))


train_loader = DataLoader(to_dataset(X_train, y_train), batch_size=64, shuffle=True)
val_loader = DataLoader(to_dataset(X_val, y_val), batch_size=256)
test_loader = DataLoader(to_dataset(X_test, y_test), batch_size=256)

model = nn.Sequential(
    nn.Linear(64, 128),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def accuracy(loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for xb, yb in loader:
            right += (model(xb).argmax(dim=1) == yb).sum().item()
            total += len(yb)
    return right / total


for epoch in range(15):
    model.train()
    running = 0.0
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(xb)
    print(f"epoch {epoch + 1:2d}  loss {running / len(X_train):.4f}  val acc {accuracy(val_loader):.4f}")

print(f"test accuracy {accuracy(test_loader):.4f}")
