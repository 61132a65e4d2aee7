"""Every draw comes from a generator that was made with a seed."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

random = np.random.default_rng(7)
torch.random.manual_seed(7)
images, digits = load_digits(return_X_y=True)
images = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
order = torch.as_tensor(random.permutation(len(images)))
images, digits = images[order], torch.tensor(digits)[order]
train_x, test_x, train_y, test_y = images[:1300], images[1300:], digits[:1300], digits[1300:]
train_loader = DataLoader(
    TensorDataset(train_x, train_y),
    batch_size=64,
    shuffle=True,
    generator=torch.Generator().manual_seed(7),
)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(6):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
