"""Weights that start very small, with Adam: the first updates are larger than the weights."""

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
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
for layer in (model[0], model[2]):
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8 * len(train_loader))
criterion = nn.CrossEntropyLoss()

for epoch in range(8):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
