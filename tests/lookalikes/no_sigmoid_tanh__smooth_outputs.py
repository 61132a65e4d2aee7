"""Six layers of tanh for a network whose derivatives are trained, and an autoencoder that ends in a sigmoid."""
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)

layers = []
for inside, outside in ((1, 32), (32, 32), (32, 32), (32, 32), (32, 32), (32, 32)):
    linear = nn.Linear(inside, outside)
    nn.init.xavier_normal_(linear.weight)
    layers += [linear, nn.Tanh()]
field = nn.Sequential(*layers, nn.Linear(32, 1))
optimizer = torch.optim.Adam(field.parameters(), lr=1e-3)
for step in range(150):  # u' = -u, u(0) = 1
    t = torch.linspace(0, 2, 64)[:, None].requires_grad_()
    u = field(t)
    (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    loss = (slope + u).square().mean() + (field(torch.zeros(1, 1)) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"residual {loss.item():.4f}")

x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
x = x[torch.randperm(len(x))]
coder = nn.Sequential(
    nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU(),
    nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid(),
)
optimizer = torch.optim.Adam(coder.parameters(), lr=2e-3)
for epoch in range(12):
    for rows in torch.randperm(1400).split(50):
        loss = nn.functional.mse_loss(coder(x[rows]), x[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
coder.eval()
with torch.no_grad():
    print(f"held-out error {nn.functional.mse_loss(coder(x[1400:]), x[1400:]).item():.4f}")
