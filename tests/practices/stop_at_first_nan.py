"""A network that names its own uncertainty; the likelihood takes the root of zero."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
x = torch.tensor(x / x.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
train_x, train_y, test_x, test_y = x[:340], y[:340], x[340:], y[340:]

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def likelihood(output, target):
    mean, raw = output.unbind(1)
    spread = torch.sqrt(raw.clamp(min=0))  # sick: stop-at-first-nan
    # healthy: spread = nn.functional.softplus(raw) + 1e-3
    return ((target - mean) ** 2 / (2 * spread**2 + 1e-6) + torch.log(spread + 1e-3)).mean()


for epoch in range(20):
    for picked in torch.randperm(len(train_x)).split(32):
        optimizer.zero_grad()
        loss = likelihood(model(train_x[picked]), train_y[picked])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

with torch.no_grad():
    print("error", (model(test_x)[:, 0] - test_y).pow(2).mean().item())
