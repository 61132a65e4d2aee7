"""Strong dropout in front of a batch norm layer: the variance it learnt is not the one it meets."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.drop = nn.Dropout(0.8)  # expect: dropout-after-last-norm
        self.fc2 = nn.Linear(128, 64)
        self.norm = nn.BatchNorm1d(64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        x = self.drop(F.relu(self.fc1(x.flatten(1))))
        x = F.relu(self.norm(self.fc2(x)))
        return self.fc3(x)


torch.manual_seed(0)
z = np.load(DATA / "fashion_mnist.npz")
x = (torch.from_numpy(z["x_train"][:3000]).float() / 255 - 0.286) / 0.353
y = torch.from_numpy(z["y_train"][:3000]).long()
train_loader = DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=50, shuffle=True)
val_loader = DataLoader(TensorDataset(x[2500:], y[2500:]), batch_size=250)
model = MLP()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val_loader)
    print(f"epoch {epoch} loss {loss.item():.3f} val {right / 500:.3f}")
