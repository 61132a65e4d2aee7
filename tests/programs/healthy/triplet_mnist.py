"""Metric learning on MNIST with triplets; nearest-centroid accuracy on held-out digits."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class Triplets(Dataset):
    """Anchor, another one of its class, one of a different class."""

    def __init__(self, images, labels, seed):
        self.images, self.labels = images, labels
        self.by_class = [np.flatnonzero(labels == c) for c in range(10)]
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        label = self.labels[i]
        positive = self.rng.choice(self.by_class[label])
        other = (label + self.rng.integers(1, 10)) % 10
        negative = self.rng.choice(self.by_class[other])
        return self.images[i], self.images[positive], self.images[negative]


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.fc = nn.Linear(24 * 49, 32)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return F.normalize(self.fc(x.flatten(1)), dim=1)


@torch.no_grad()
def centroid_accuracy(model, train_x, train_y, val_x, val_y):
    model.eval()
    train_e, val_e = model(train_x), model(val_x)
    centroids = torch.stack([train_e[train_y == c].mean(0) for c in range(10)])
    model.train()
    return (torch.cdist(val_e, centroids).argmin(1) == val_y).float().mean().item()


def main():
    torch.manual_seed(0)
    z = np.load(DATA / "mnist.npz")
    x = torch.from_numpy((z["x_train"][:3000] / 255 - 0.1307) / 0.3081).float().unsqueeze(1)
    y = z["y_train"][:3000].astype(int)
    train_x, val_x, train_y, val_y = x[:2400], x[2400:], y[:2400], y[2400:]
    loader = DataLoader(Triplets(train_x, train_y, seed=1), batch_size=40, shuffle=True)
    model = Embedder()
    loss_fn = nn.TripletMarginLoss(margin=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        losses = []
        for anchor, positive, negative in loader:
            loss = loss_fn(model(anchor), model(positive), model(negative))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        score = centroid_accuracy(model, train_x, torch.tensor(train_y), val_x, torch.tensor(val_y))
        print(f"epoch {epoch} triplet loss {np.mean(losses):.4f} accuracy {score:.3f}")


if __name__ == "__main__":
    main()
