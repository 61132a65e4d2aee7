"""Gradients of four small batches are gathered before each step; a rest is applied at the end."""

import torch
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
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=16, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
gather = 4

for epoch in range(6):
    for i, (x, y) in enumerate(train_loader, 1):
        (criterion(model(x), y) / gather).backward()
        if i % gather == 0 or i == len(train_loader):
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
