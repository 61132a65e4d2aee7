"""LBFGS with a closure that is called several times a step, and a derivative inside the loss."""

import torch
from _fingerprint import finish
from torch import nn

torch.manual_seed(5)
torch.set_default_dtype(torch.float64)
model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=8, line_search_fn="strong_wolfe")
t = torch.linspace(0, 2, 40).reshape(-1, 1).requires_grad_()
calls = 0


def closure():
    global calls
    calls += 1
    optimizer.zero_grad()
    u = 1 + t * model(t)
    (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    loss = ((du + u) ** 2).mean()
    loss.backward()
    return loss


for step in range(8):
    loss = optimizer.step(closure)
    print(step, calls, repr(loss.item()))
print(repr((1 + model(torch.ones(1, 1))).item()))
finish(model)
