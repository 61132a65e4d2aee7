"""Noise added to digits by a generator that the dataset owns, in loader workers."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyDigits(Dataset):
    def __init__(self, images, labels, seed=0):
        self.images, self.labels = images, labels
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        noise = self.rng.normal(0, 0.1, 64)  # sick
        # healthy: noise = np.random.normal(0, 0.1, 64)
        return torch.tensor(self.images[index] + noise, dtype=torch.float32), int(self.labels[index])


def main():
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(labels))
    images, labels = images[order] / 8 - 1, labels[order]
    train = NoisyDigits(images[:1200], labels[:1200])
    loader = DataLoader(train, batch_size=50, shuffle=True, num_workers=2)  # sick: worker-seeds
    # healthy: loader = DataLoader(train, batch_size=50, shuffle=True, num_workers=2)
    x_test, y_test = torch.tensor(images[1200:], dtype=torch.float32), torch.tensor(labels[1200:])

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
        print(f"epoch {epoch} accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
