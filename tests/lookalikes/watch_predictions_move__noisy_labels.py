"""Labels that no network can predict well: predictions change between evaluations, and that is as it should be."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x = torch.randn(1200, 12)
y = (x[:, 0] + 3.0 * torch.randn(1200) > 0).long()
x_train, y_train, x_val, y_val = x[:800], y[:800], x[800:], y[800:]

net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
for epoch in range(12):
    for batch in torch.randperm(800).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(x_train[batch]), y_train[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, (net(x_val).argmax(1) == y_val).float().mean().item())
