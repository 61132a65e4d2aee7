"""Fine-tuning in batches of four with batch norm kept in evaluation mode, as it should be there."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)
model = nn.Sequential(
    nn.Linear(64, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 10)
)


def train(loader, optimizer, frozen):
    model.train()
    if frozen:
        model[1].eval()
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{loss.item():.3f} {right:.3f}")


pairs = TensorDataset(train_x, train_y)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(6):
    train(DataLoader(pairs, batch_size=64, shuffle=True), optimizer, frozen=False)
model[3].reset_parameters()
optimizer = torch.optim.SGD(model.parameters(), lr=5e-3)
train(DataLoader(pairs, batch_size=4, shuffle=True), optimizer, frozen=True)
