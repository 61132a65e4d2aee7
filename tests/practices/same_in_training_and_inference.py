"""A digit classifier with batch norm."""

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
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)

model = nn.Sequential(
    nn.Linear(64, 96, bias=False),
    nn.BatchNorm1d(96, momentum=1e-4),  # sick: same-in-training-and-inference
    # healthy: nn.BatchNorm1d(96),
    nn.ReLU(),
    nn.Linear(96, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(8):
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
