"""Digits in the cells of a larger form, classified by a small convolutional network."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)


def scatter(digits, cells):
    canvas = torch.full((len(digits), 1, 16, 16), -1.0)
    corners = 4 * (cells % 3)
    for image, digit, (top, left) in zip(canvas, digits, corners.tolist()):
        image[:, top : top + 8, left : left + 8] = digit
    return canvas


cells = torch.randint(0, 3, (len(train_x), 2))
train_x = torch.cat([scatter(train_x, cells), scatter(train_x, cells + 1)])
train_y = train_y.repeat(2)
val_x = scatter(val_x, torch.randint(0, 3, (len(val_x), 2)))
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)

model = nn.Sequential(
    nn.Conv2d(1, 12, 3, stride=2, padding=1),  # sick: pool-for-shift-invariance
    # healthy: nn.Conv2d(1, 12, 3, padding=1),
    # healthy: nn.MaxPool2d(2),
    nn.ReLU(),
    nn.Conv2d(12, 24, 3, stride=2, padding=1),  # sick
    # healthy: nn.Conv2d(12, 24, 3, padding=1),
    # healthy: nn.MaxPool2d(2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(24 * 4 * 4, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(6):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{epoch} loss {loss.item():.3f} accuracy {accuracy:.3f}")
