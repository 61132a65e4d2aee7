"""The head is replaced after the optimizer was made."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 100))
# healthy: model[2] = nn.Linear(64, 10)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
model[2] = nn.Linear(64, 10)  # sick: head-after-optimizer

for epoch in range(8):
    for rows in torch.randperm(1400).split(64):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
