"""Train, save everything, throw the objects away, resume from the file and go on."""
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build():
    model = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    return model, optimizer, scheduler


def save(path, epoch, model, optimizer, scheduler):
    torch.save(
        {
            "epoch": epoch,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "rng": torch.get_rng_state(),
        },
        path,
    )


def load(path, model, optimizer, scheduler):
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    torch.set_rng_state(checkpoint["rng"])
    return checkpoint["epoch"] + 1


def fit(path, until, loaders):
    model, optimizer, scheduler = build()
    start = load(path, model, optimizer, scheduler) if path.exists() else 0
    criterion = nn.CrossEntropyLoss()
    train, val = loaders
    for epoch in range(start, until):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            good = sum((model(x).argmax(1) == y).sum().item() for x, y in val)
        print(f"epoch {epoch} loss {loss.item():.4f} val {good / len(val.dataset):.4f}")
        save(path, epoch, model, optimizer, scheduler)


def main():
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=0)
    mu, sigma = X_train.mean(), X_train.std()

    def tensors(X, y):
        return TensorDataset(torch.tensor((X - mu) / sigma, dtype=torch.float32), torch.tensor(y))

    loaders = (
        DataLoader(tensors(X_train, y_train), batch_size=64, shuffle=True, drop_last=True),
        DataLoader(tensors(X_val, y_val), batch_size=128),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.pt"
        fit(path, until=5, loaders=loaders)
        print("interrupted, resuming")
        fit(path, until=10, loaders=loaders)


if __name__ == "__main__":
    main()
