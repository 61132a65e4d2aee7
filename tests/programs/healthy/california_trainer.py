"""House values in California, with a reusable Trainer class."""
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    """Holds model, data and optimizer; keeps the history."""

    def __init__(self, model, train_set, val_set, lr=2e-3, batch_size=128):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
        self.val_loader = DataLoader(val_set, batch_size=1024)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.criterion = nn.HuberLoss()
        self.history = []

    def training_step(self, batch):
        x, y = batch
        return self.criterion(self.model(x), y)

    def fit(self, epochs):
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=5e-3, total_steps=epochs * len(self.train_loader)
        )
        for epoch in range(epochs):
            self.model.train()
            total = 0.0
            for batch in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.training_step(batch)
                loss.backward()
                self.optimizer.step()
                schedule.step()
                total += loss.item()
            self.history.append((total / len(self.train_loader), self.validate()))
            print("epoch {} train {:.4f} val rmse {:.4f}".format(epoch, *self.history[-1]))

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        squared = [(self.model(x) - y).square().sum().item() for x, y in self.val_loader]
        return (sum(squared) / len(self.val_loader.dataset)) ** 0.5


def load(folder):
    with gzip.open(Path(folder) / "california_housing.csv.gz", "rt") as f:
        header = f.readline().strip().split(",")
        rows = [line.strip().split(",") for line in f]
    rows = [r for r in rows if all(r)]
    table = {name: [r[i] for r in rows] for i, name in enumerate(header)}
    number = {k: np.array(v, dtype=np.float64) for k, v in table.items() if k != "ocean_proximity"}
    kinds = sorted(set(table["ocean_proximity"]) - {"ISLAND"})
    features = [
        number["longitude"],
        number["latitude"],
        number["housing_median_age"],
        np.log(number["total_rooms"] / number["households"]),
        np.log(number["total_bedrooms"] / number["households"]),
        np.log(number["population"] / number["households"]),
        np.log(number["households"]),
        np.log(number["median_income"]),
    ]
    features += [np.array(table["ocean_proximity"]) == kind for kind in kinds]
    return np.stack(features, 1).astype(np.float32), np.log(number["median_house_value"]).astype(np.float32)


def main():
    torch.manual_seed(0)
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    X, y = load(os.environ.get("NOMAGIC_DATA", default))
    order = np.random.default_rng(0).permutation(len(X))[:10000]
    train, val = order[:8000], order[8000:]
    X = (X - X[train].mean(0)) / X[train].std(0)
    y = ((y - y[train].mean()) / y[train].std())[:, None]
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    model = nn.Sequential(
        nn.Linear(X.shape[1], 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1)
    )
    trainer = Trainer(model, TensorDataset(X[train], y[train]), TensorDataset(X[val], y[val]))
    trainer.fit(epochs=8)


if __name__ == "__main__":
    main()
