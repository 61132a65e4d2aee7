"""Forecast of the alcohol content of a wine."""
# consequence: overfit-one-batch
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim

data = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
table = np.genfromtxt(data / "wine_quality.csv", delimiter=",", skip_header=1, usecols=range(12))
table = np.unique(table, axis=0)
np.random.default_rng(0).shuffle(table)
features = np.log(np.clip(np.delete(table, [10, 11], axis=1), 0.01, None))
features = (features - features[:4000].mean(0)) / features[:4000].std(0)
x = torch.tensor(features, dtype=torch.float32)
y = torch.tensor(table[:, 10:11], dtype=torch.float32)

torch.manual_seed(0)
net = nn.Sequential(
    nn.Linear(10, 64),
    nn.Tanh(),
    nn.Linear(64, 1),
    nn.Tanh(),  # expect: no-output-activation  # expect-severity: fault
)
opt = optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(10):
    order = torch.randperm(4000)
    for i in range(0, 4000, 100):
        idx = order[i : i + 100]
        loss = nn.functional.mse_loss(net(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        error = (net(x[4000:]) - y[4000:]).abs().mean().item()
    print(f"epoch {epoch} loss {loss.item():.3f} mean error {error:.3f} % alcohol")
