"""Train, save the weights, resume in a second phase."""
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def build_model():
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))


def get_loaders():
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32)
    data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
    train, val = random_split(data, [1400, len(data) - 1400])
    return DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=200)


def train(model, optimizer, loaders, epochs):
    for epoch in epochs:
        model.train()
        for x, y in loaders[0]:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in loaders[1])
        print(f"epoch {epoch} loss {loss.item():.4f} val {right / len(loaders[1].dataset):.3f}")


torch.manual_seed(0)
loaders = get_loaders()
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "checkpoint.pt")
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    train(model, optimizer, loaders, range(4))
    torch.save({"epoch": 4, "model": model.state_dict()}, path)

    checkpoint = torch.load(path)
    model = build_model()
    model.load_state_dict(checkpoint["model"])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)  # expect: restore-optimizer-state
    train(model, optimizer, loaders, range(checkpoint["epoch"], 8))
