"""Rare flags, one-hot codes, a constant column and pixels in [0, 1] with a bright background."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
pixels = 1 - 0.5 * torch.tensor(images, dtype=torch.float32)[order] / 16
y = torch.tensor(labels)[order]
flags = (torch.rand(len(y), 10) < 0.01).float()
codes = nn.functional.one_hot(torch.randint(0, 30, (len(y),)), 30).float()
x = torch.cat([4 * pixels - 3.5, pixels, flags, codes, torch.ones(len(y), 1)], 1)
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=40, shuffle=True)

model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
