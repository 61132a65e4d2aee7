"""Fashion-MNIST with a small CNN."""
# consequence: watch-dead-units, overfit-one-batch, beat-constant-input
import argparse
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

ROOT = Path(__file__).resolve().parents[4] / "shared" / "data"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.fc = nn.Linear(24 * 49, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.flatten(1))


def train(model, loader, optimizer):
    model.train()
    for data, target in loader:
        output = model(data)
        loss = F.cross_entropy(output, target)
        loss.backward()  # expect: zero-grad  # expect-severity: fault
        optimizer.step()
    return loss.item()


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            correct += (model(data).argmax(1) == target).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("NOMAGIC_DATA", ROOT))
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    z = np.load(Path(args.data) / "fashion_mnist.npz")
    x = (torch.from_numpy(z["x_train"][:3000]).float().unsqueeze(1) / 255 - 0.286) / 0.353
    y = torch.from_numpy(z["y_train"][:3000]).long()
    train_loader = DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=50, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[2500:], y[2500:]), batch_size=250)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(args.epochs):
        loss = train(model, train_loader, optimizer)
        print(f"epoch {epoch} loss {loss:.4f} val {test(model, val_loader):.3f}")
