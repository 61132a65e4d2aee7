"""A digit classifier whose batches are drawn by hand."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)

model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(12):
    model.train()
    order = torch.randperm(len(train_x))
    for pick in order.split(64):
        x, y = train_x[pick], train_y[pick]
        optimizer.zero_grad()
        logits = model(x[torch.randperm(len(x))])  # sick: beat-constant-input
        # healthy: logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{epoch} loss {loss.item():.3f} accuracy {accuracy:.3f}")
