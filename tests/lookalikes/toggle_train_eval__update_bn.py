"""Stochastic weight averaging: batch norm is recalibrated by passes in training mode, without gradients."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x / 8 - 1, dtype=torch.float32)
x_train, x_val, y_train, y_val = train_test_split(x, torch.tensor(y), random_state=0, stratify=y)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)

net = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
averaged = AveragedModel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for epoch in range(8):
    net.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(xb), yb).backward()
        optimizer.step()
    if epoch >= 4:
        averaged.update_parameters(net)

update_bn(loader, averaged)


def recalibrate(model, batches):
    """The same by hand, with labels at hand but not looked at."""
    model.train()
    with torch.no_grad():
        for xb, _ in batches:
            model(xb)


recalibrate(net, loader)
for model in (net, averaged):
    model.eval()
    with torch.no_grad():
        print((model(x_val).argmax(1) == y_val).float().mean().item())
