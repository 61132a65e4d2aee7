"""Missing values that the network masks itself, missing targets that the loss leaves out, and a look far outside the data."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
n = 1500
x = torch.randn(n, 20)
w = torch.randn(20, 3) / 20**0.5
y = torch.tanh(x @ w) + 0.1 * torch.randn(n, 3)
x[torch.rand(n, 20) < 0.1] = float("nan")
y[torch.rand(n, 3) < 0.2] = float("nan")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, x):
        known = ~x.isnan()
        return self.body(torch.cat([x.nan_to_num(), known.float()], 1))


def masked(prediction, target):
    known = ~target.isnan()
    return ((prediction - target.nan_to_num()) * known).square().sum() / known.sum()


loader = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=60, shuffle=True)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(8):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = masked(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        held = masked(model(x[1200:]), y[1200:]).item()
    print(f"epoch {epoch} loss {loss.item():.3f} held out {held:.3f}")
with torch.no_grad():
    far = model(1000 * torch.eye(20))
    print("far away", far.abs().mean().item())
