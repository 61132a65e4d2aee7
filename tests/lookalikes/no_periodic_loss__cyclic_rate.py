"""Shuffled data, and a learning rate that goes up and down once in every epoch."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, digits = load_digits(return_X_y=True)
images = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
train_x, test_x, train_y, test_y = train_test_split(
    images, torch.tensor(digits), test_size=0.3, random_state=0, stratify=digits
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
schedule = torch.optim.lr_scheduler.CyclicLR(
    optimizer, base_lr=1e-3, max_lr=0.1, step_size_up=len(train_loader) // 2
)

for epoch in range(10):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
