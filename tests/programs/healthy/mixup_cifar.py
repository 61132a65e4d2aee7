"""CIFAR-10 (a subset) with flips and mixup: soft targets in the cross-entropy."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
BATCH, EPOCHS, ALPHA = 64, 4, 0.2


def load_cifar(name, n):
    z = np.load(DATA / name)
    x = z["d"][:, :n].cumsum(2, dtype=np.uint8).cumsum(3, dtype=np.uint8)
    x[0] += x[1]
    x[2] += x[1]
    x = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2, 3))).float() / 255
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    return (x - mean) / std, torch.from_numpy(z["y"][:n].astype(np.int64))


def augment(x):
    flip = torch.rand(len(x)) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)


def mixup(x, y):
    lam = np.random.beta(ALPHA, ALPHA)
    other = torch.randperm(len(x))
    targets = F.one_hot(y, 10).float()
    return lam * x + (1 - lam) * x[other], lam * targets + (1 - lam) * targets[other]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, 16, 32, 48]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.MaxPool2d(2), nn.ReLU())
            for a, b in zip(widths, widths[1:])
        )
        self.head = nn.Linear(48 * 16, 10)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(x.flatten(1))


np.random.seed(0)
torch.manual_seed(0)
x, y = load_cifar("cifar10_train_1.npz", 3000)
train_x, train_y, val_x, val_y = x[:2500], y[:2500], x[2500:], y[2500:]
model = ConvNet()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
for epoch in range(EPOCHS):
    model.train()
    total = 0.0
    for idx in torch.randperm(len(train_x)).split(BATCH):
        inputs, targets = mixup(augment(train_x[idx]), train_y[idx])
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(b) for b in val_x.split(250)])
    print(f"epoch {epoch} loss {total / len(train_x):.3f} val acc {(logits.argmax(1) == val_y).float().mean():.3f}")
