"""Digits; the model ends in its favourite activation."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


def block(n_in, n_out):
    return [nn.Linear(n_in, n_out), nn.ReLU()]  # expect: no-output-activation


torch.manual_seed(1)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)
order = torch.randperm(len(x))
train, val = order[:1400], order[1400:]
model = nn.Sequential(*block(64, 64), *block(64, 32), *block(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(12):
    for idx in train[torch.randperm(1400)].split(50):
        loss = F.cross_entropy(model(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = (model(x[val]).argmax(1) == y[val]).float().mean()
    if epoch % 3 == 2:
        print(epoch, round(loss.item(), 4), round(acc.item(), 3))
