"""Digits; two parts, one optimizer."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.encoder(x))


def make_optimizer(model):
    return torch.optim.Adam(model.encoder.parameters(), lr=1e-3)  # expect: optimise-every-parameter


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
train, val = random_split(TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target)), [1400, 397])
loader = DataLoader(train, batch_size=40, shuffle=True)
model = Classifier()
optimizer = make_optimizer(model)
for epoch in range(8):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(val, 200)) / 397
    print(epoch, round(loss.item(), 4), round(acc, 3))
