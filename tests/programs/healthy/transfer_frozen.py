"""Transfer learning: pre-train on five digits, freeze the backbone, learn the other five from few examples."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def conv_block(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.MaxPool2d(2), nn.ReLU()
    )


class Classifier(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.backbone = nn.Sequential(conv_block(1, 16), conv_block(16, 32), nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.head = nn.Linear(32 * 9, n_classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def fit(model, loader, params, epochs, lr, frozen=False):
    optimizer = torch.optim.Adam(params, lr=lr)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        if frozen:
            model.backbone.eval()  # keep the running statistics as they are
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        good = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return good / len(loader.dataset)


def main():
    torch.manual_seed(0)
    with np.load(DATA / "mnist.npz") as z:
        x = torch.from_numpy(z["x_train"][:6000]).float().unsqueeze(1) / 255
        y = torch.from_numpy(z["y_train"][:6000]).long()
    x = (x - 0.1307) / 0.3081
    low, high = y < 5, y >= 5

    source = TensorDataset(x[low][:2400], y[low][:2400])
    model = Classifier(5)
    fit(model, DataLoader(source, batch_size=60, shuffle=True), model.parameters(), epochs=3, lr=2e-3)
    held = DataLoader(TensorDataset(x[low][2400:], y[low][2400:]), batch_size=300)
    print(f"digits 0-4: {evaluate(model, held):.3f}")

    for p in model.backbone.parameters():
        p.requires_grad = False
    model.head = nn.Linear(32 * 9, 5)
    few = TensorDataset(x[high][:200], y[high][:200] - 5)
    held = DataLoader(TensorDataset(x[high][200:1400], y[high][200:1400] - 5), batch_size=300)
    fit(model, DataLoader(few, batch_size=20, shuffle=True), model.head.parameters(), epochs=25, lr=3e-3, frozen=True)
    print(f"digits 5-9 from 200 examples: {evaluate(model, held):.3f}")


if __name__ == "__main__":
    main()
