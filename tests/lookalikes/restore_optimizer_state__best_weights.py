"""The best weights are kept in a file and loaded for the last score; a new head starts from the trunk."""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
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
fit_x, val_x, fit_y, val_y = train_test_split(train_x, train_y, test_size=0.25, random_state=1)
train_loader = DataLoader(TensorDataset(fit_x, fit_y), batch_size=64, shuffle=True)
best, file = 0.0, Path(tempfile.mkdtemp()) / "best.pt"


def fit(model, optimizer, epochs):
    global best
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = (model(val_x).argmax(1) == val_y).float().mean().item()
        if score > best:
            best = score
            torch.save(
                {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file
            )


model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
fit(model, torch.optim.Adam(model.parameters(), lr=2e-3), 6)
model.load_state_dict(torch.load(file)["model"])

tuned = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
trunk = {k: v for k, v in torch.load(file)["model"].items() if k.startswith("0.")}
tuned.load_state_dict(trunk, strict=False)
fit(tuned, torch.optim.Adam(tuned.parameters(), lr=1e-3), 4)

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
