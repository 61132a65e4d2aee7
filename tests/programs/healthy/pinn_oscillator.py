"""Physics-informed network for a damped oscillator u'' + 2 d u' + w^2 u = 0.

Second derivatives by double backward; Adam first, LBFGS to finish.
"""
import math

import torch
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
D, W = 0.4, 4.0


def exact(t):
    w = math.sqrt(W**2 - D**2)
    return torch.exp(-D * t) * (torch.cos(w * t) + D / w * torch.sin(w * t))


class Net(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, 1),
        )

    def forward(self, t):
        # initial conditions u(0) = 1, u'(0) = 0 are built in
        return 1 + t**2 * self.net(2 * t - 2)


def residual(net, t):
    u = net(t)
    (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
    return ddu + 2 * D * du + W**2 * u


net = Net()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for step in range(400):
    t = (2 * torch.rand(64, 1)).requires_grad_()
    loss = residual(net, t).pow(2).mean() / W**4
    adam.zero_grad()
    loss.backward()
    adam.step()
    if step % 100 == 99:
        print(f"adam {step + 1} loss {loss.item():.2e}")

t = torch.linspace(0, 2, 100).reshape(-1, 1).requires_grad_()
lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe")


def closure():
    lbfgs.zero_grad()
    loss = residual(net, t).pow(2).mean() / W**4
    loss.backward()
    return loss


for step in range(12):
    loss = lbfgs.step(closure)
    if step % 4 == 3:
        print(f"lbfgs {step + 1} loss {loss.item():.2e}")

with torch.no_grad():
    grid = torch.linspace(0, 2, 400).reshape(-1, 1)
    print(f"largest error {(net(grid) - exact(grid)).abs().max():.4f}")
