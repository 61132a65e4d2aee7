"""A small convolutional network on Fashion-MNIST: a loader, and an evaluation after each epoch."""

import numpy as np
import torch
import torch.nn.functional as F
from stopwatch import DATA, Stopwatch, steps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

n_steps = steps(600)
torch.manual_seed(0)


def load(z, split, n):
    x = torch.from_numpy(z[f"x_{split}"][:n]).float().div(255).unsqueeze(1)
    return TensorDataset((x - 0.2860) / 0.3530, torch.from_numpy(z[f"y_{split}"][:n]).long())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.bn1(self.conv1(x)), 2))
        x = F.relu(F.max_pool2d(self.bn2(self.conv2(x)), 2))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


z = np.load(DATA / "fashion_mnist.npz")
train_loader = DataLoader(load(z, "train", 6_400), batch_size=64, shuffle=True)
test_loader = DataLoader(load(z, "test", 1_000), batch_size=250)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def evaluate():
    model.eval()
    correct = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            correct += (model(xb).argmax(1) == yb).sum().item()
    model.train()
    return correct / len(test_loader.dataset)


step = 0
with Stopwatch():
    while step < n_steps:
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            step += 1
            if step == n_steps:
                break
        accuracy = evaluate()
print(f"accuracy {accuracy:.3f}")
