"""Regress the centre of a blob in a noisy image; coordinates scaled to [-1, 1]."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(n, generator, size=24):
    centers = torch.rand(n, 2, generator=generator) * 1.6 - 0.8
    line = torch.linspace(-1, 1, size)
    dy = line[None, :, None] - centers[:, 1, None, None]
    dx = line[None, None, :] - centers[:, 0, None, None]
    blob = torch.exp(-(dx**2 + dy**2) / 0.03)
    image = 3 * blob + 0.5 * torch.randn(n, size, size, generator=generator)
    return image.unsqueeze(1), centers


def build(width):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * 36, 64), nn.ReLU(),
        nn.Linear(64, 2),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    g = torch.Generator().manual_seed(args.seed + 100)
    train = DataLoader(TensorDataset(*make_data(1200, g)), batch_size=48, shuffle=True)
    val_x, val_y = make_data(300, g)

    model = build(args.width)
    criterion = nn.SmoothL1Loss(beta=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, y in train:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(train)
        scheduler.step()
        model.eval()
        with torch.inference_mode():
            error = (model(val_x) - val_y).norm(dim=1).mean()
        print(f"epoch {epoch} loss {total:.4f} val error {error:.4f}")


if __name__ == "__main__":
    main()
