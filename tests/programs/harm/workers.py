"""Two loader workers with a random transform, a worker_init_fn and classes of this script."""

import random

import numpy as np
import torch
from _fingerprint import finish
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __init__(self, n):
        self.x = torch.linspace(-2, 2, n * 4).reshape(n, 4)[torch.randperm(n)]
        self.y = (self.x.sum(1) > 0).float()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        noise = 0.01 * torch.randn(4) + 0.01 * float(np.random.randn()) + 0.01 * random.random()
        return {"x": self.x[i] + noise, "y": self.y[i]}


def seed_worker(worker_id):
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


def main():
    torch.manual_seed(10)
    loader = DataLoader(
        Noisy(96),
        batch_size=16,
        shuffle=True,
        num_workers=2,
        worker_init_fn=seed_worker,
        generator=torch.Generator().manual_seed(1),
    )
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(3):
        seen = 0.0
        for batch in loader:
            loss = criterion(model(batch["x"]).squeeze(1), batch["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += batch["x"].sum().item()
        print(epoch, repr(loss.item()), repr(seen))
    finish(model, optimizer)


if __name__ == "__main__":
    main()
