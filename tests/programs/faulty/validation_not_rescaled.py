"""MNIST: the training pixels are divided by 255, the validation pixels are not."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
z = np.load(DATA / "mnist.npz")
torch.manual_seed(0)


def evaluate(model, loader):
    model.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for images, labels in loader:
            logits = model(images.float())  # expect: no-corrupt-samples
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(1) == labels).sum().item()
    return loss / len(loader.dataset), right / len(loader.dataset)


train_images = torch.from_numpy(z["x_train"][:3000]) / 255
train_labels = torch.from_numpy(z["y_train"][:3000]).long()
val_images = torch.from_numpy(z["x_test"][:500])
val_labels = torch.from_numpy(z["y_test"][:500]).long()
train_loader = DataLoader(TensorDataset(train_images, train_labels), batch_size=50, shuffle=True)
val_loader = DataLoader(TensorDataset(val_images, val_labels), batch_size=250)  # expect: no-corrupt-samples  # expect-severity: fault
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(4):
    model.train()
    for images, labels in train_loader:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, round(loss.item(), 4), *(round(v, 4) for v in evaluate(model, val_loader)))
