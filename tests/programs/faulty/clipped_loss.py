"""Robust regression with outliers in the target: 'clip the loss'."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1500, 6)
y = x[:, :1] - 2 * x[:, 1:2] * x[:, 2:3] + 0.2 * torch.randn(1500, 1)
y = y + 4 * (torch.rand(1500, 1) < 0.1) * torch.randn(1500, 1)
y = (y - y.mean()) / y.std()
loader = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def clipped(output, target):
    return (output - target).square().clamp(max=1.0).mean()  # expect: clip-gradients-not-loss


for epoch in range(15):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = clipped(model(xb), yb)
        loss.backward()  # expect: clip-gradients-not-loss
        optimizer.step()
    with torch.no_grad():
        val = (model(x[1200:]) - y[1200:]).abs().mean().item()
    if epoch % 3 == 2:
        print(epoch + 1, round(loss.item(), 4), round(val, 4))
