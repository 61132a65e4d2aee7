"""Strided convolutions, and every image somewhere else each time: the network learns that place is no matter."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8) * 2 - 1
images = F.interpolate(images, size=16, mode="bilinear")
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 4 * 4, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


def shifted(x):
    down, right = torch.randint(-1, 2, (2,)).tolist()
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    return padded[:, :, 1 + down : 17 + down, 1 + right : 17 + right]


for epoch in range(8):
    model.train()
    for pick in torch.randperm(len(train_x)).split(64):
        loss = F.cross_entropy(model(shifted(train_x[pick])), train_y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{epoch} {loss.item():.3f} {right:.3f}")
