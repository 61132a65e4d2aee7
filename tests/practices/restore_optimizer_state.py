"""Digits in two sittings: the second one resumes from the checkpoint of the first."""

import tempfile
from pathlib import Path

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
criterion = nn.CrossEntropyLoss()


def build():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def train(model, optimizer, epochs):
    model.train()
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()


checkpoint = Path(tempfile.mkdtemp()) / "checkpoint.pt"
model = build()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
train(model, optimizer, 6)
torch.save({"epoch": 6, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)

state = torch.load(checkpoint)
model = build()
model.load_state_dict(state["model"])
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)  # sick: restore-optimizer-state
# healthy: optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
# healthy: optimizer.load_state_dict(state["optimizer"])
train(model, optimizer, 3)

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
