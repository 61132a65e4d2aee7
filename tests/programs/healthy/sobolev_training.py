"""Sobolev training: match a function and its gradient."""
import torch
from torch import nn

torch.manual_seed(4)


def target(x):
    return torch.sin(2 * x[:, :1]) * torch.cos(x[:, 1:])


def target_gradient(x):
    a, b = 2 * x[:, :1], x[:, 1:]
    return torch.cat([2 * torch.cos(a) * torch.cos(b), -torch.sin(a) * torch.sin(b)], 1)


net = nn.Sequential(nn.Linear(2, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
mse = nn.MSELoss()
x_train = 3 * torch.rand(800, 2) - 1.5
x_val = 3 * torch.rand(400, 2) - 1.5

for epoch in range(40):
    for batch in x_train[torch.randperm(800)].split(50):
        x = batch.clone().requires_grad_(True)
        out = net(x)
        slope = torch.autograd.grad(out, x, torch.ones_like(out), create_graph=True)[0]
        loss = mse(out, target(batch)) + 0.5 * mse(slope, target_gradient(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 8 == 7:
        with torch.no_grad():
            val = mse(net(x_val), target(x_val)).item()
        print(f"epoch {epoch + 1} loss {loss.item():.4f} val mse {val:.5f}")
