"""Early stopping with patience; the best weights are put back before the test set is touched."""
import copy
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad, self.weights = patience, float("inf"), 0, None

    def update(self, loss, model):
        if loss < self.best:
            self.best, self.bad = loss, 0
            self.weights = copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


def loaders():
    z = np.load(DATA / "mnist.npz")
    x = torch.from_numpy(z["x_train"][:3500]).float().flatten(1) / 255
    y = torch.from_numpy(z["y_train"][:3500]).long()
    tx = torch.from_numpy(z["x_test"][:1000]).float().flatten(1) / 255
    ty = torch.from_numpy(z["y_test"][:1000]).long()
    x, tx = (x - 0.1307) / 0.3081, (tx - 0.1307) / 0.3081
    return (
        DataLoader(TensorDataset(x[:2500], y[:2500]), batch_size=50, shuffle=True),
        DataLoader(TensorDataset(x[2500:], y[2500:]), batch_size=500),
        DataLoader(TensorDataset(tx, ty), batch_size=500),
    )


def run(model, loader, criterion):
    model.eval()
    loss = right = 0.0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += criterion(out, y).item() * len(y)
            right += (out.argmax(1) == y).sum().item()
    return loss / len(loader.dataset), right / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train, val, test = loaders()
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    stopper = EarlyStopping(patience=3)
    for epoch in range(40):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        loss, acc = run(model, val, criterion)
        print(f"epoch {epoch} val loss {loss:.4f} acc {acc:.4f}")
        if stopper.update(loss, model):
            print("no progress, stopping")
            break
    model.load_state_dict(stopper.weights)
    print("test loss {:.4f} acc {:.4f}".format(*run(model, test, criterion)))


if __name__ == "__main__":
    main()
