"""Gradient accumulation, four micro-batches per update."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1600, 10)
y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()
loader = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
ACCUMULATE = 4

for epoch in range(6):
    for i, (xb, yb) in enumerate(loader):
        loss = F.cross_entropy(model(xb), yb) / ACCUMULATE
        loss.backward()  # expect: zero-grad  # expect-severity: fault
        if (i + 1) % ACCUMULATE == 0:
            optimizer.step()
    with torch.no_grad():
        acc = (model(x[1280:]).argmax(1) == y[1280:]).float().mean()
    print(epoch, round(loss.item() * ACCUMULATE, 4), round(acc.item(), 3))
