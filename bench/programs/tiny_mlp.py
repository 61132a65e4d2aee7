"""A tiny network on MNIST, batches by indexing: a millisecond a step, the hardest to watch."""

import numpy as np
import torch
from stopwatch import DATA, Stopwatch, steps
from torch import nn

n_steps = steps(8_000)
torch.manual_seed(0)
z = np.load(DATA / "mnist.npz")
x = torch.from_numpy(z["x_train"][:20_000]).float().flatten(1).div(255)
x = (x - 0.1307) / 0.3081
y = torch.from_numpy(z["y_train"][:20_000]).long()

model = nn.Sequential(
    nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

with Stopwatch():
    for _ in range(n_steps):
        index = torch.randint(len(x), (128,))
        xb, yb = x[index], y[index]
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
print(f"loss {loss.item():.4f}")
