"""The rows are shuffled, the labels are not."""
# consequence: overfit-one-batch
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def load():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    X = rng.permutation(X)
    X = (X - X.mean()) / X.std()
    data = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    cut = rng.permutation(len(y))
    return [TensorDataset(data[0][i], data[1][i]) for i in (cut[:1400], cut[1400:])]


def evaluate(model, loader):
    model.eval()
    loss = right = 0.0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)  # expect: beat-constant-input
            loss += F.cross_entropy(out, y, reduction="sum").item()
            right += (out.argmax(1) == y).sum().item()
    return loss / len(loader.dataset), right / len(loader.dataset)


torch.manual_seed(0)
train, val = load()
train_loader, val_loader = DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=200)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))  # expect: beat-constant-input
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(8):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    print("epoch {} val loss {:.3f} acc {:.3f}".format(epoch, *evaluate(model, val_loader)))
