"""A generator of the dataset's own that only its constructor draws from, and one that each worker seeds for itself."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        images, labels = load_digits(return_X_y=True)
        order = self.rng.permutation(len(labels))
        self.images, self.labels = images[order] / 8 - 1, labels[order]

    def __len__(self):
        return 1200

    def __getitem__(self, index):
        noise = 0.1 * torch.randn(64)
        return torch.tensor(self.images[index], dtype=torch.float32) + noise, int(self.labels[index])


class OwnNoise(Digits):
    def __init__(self):
        super().__init__()
        self.noise = np.random.default_rng(1)

    def __getitem__(self, index):
        image = self.images[index] + self.noise.normal(0, 0.1, 64)
        return torch.tensor(image, dtype=torch.float32), int(self.labels[index])


def reseed(worker):
    dataset = torch.utils.data.get_worker_info().dataset
    dataset.noise = np.random.default_rng(torch.initial_seed())


def main():
    torch.manual_seed(0)
    loaders = [
        DataLoader(Digits(), batch_size=50, shuffle=True, num_workers=2),
        DataLoader(OwnNoise(), batch_size=50, shuffle=True, num_workers=2, worker_init_fn=reseed),
    ]
    held = Digits()
    x = torch.tensor(held.images[1200:], dtype=torch.float32)
    y = torch.tensor(held.labels[1200:])
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for loader in loaders * 2:
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            print((model(x).argmax(1) == y).float().mean().item())


if __name__ == "__main__":
    main()
