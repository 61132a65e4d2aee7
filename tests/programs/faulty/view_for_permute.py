"""Transformer load, one-dimensional convolutions; (batch, time, channel) is viewed as (batch, channel, time)."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
PAST, FUTURE = 72, 12


class ConvForecaster(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, 24, 5, stride=2)
        self.conv2 = nn.Conv1d(24, 24, 5, stride=2)
        self.head = nn.Linear(24 * 15, FUTURE)

    def forward(self, x):
        b, t, c = x.shape
        x = x.view(b, c, t)  # expect: reshape-is-not-permute
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        return self.head(x.flatten(1))


def windows(table, stride):
    starts = range(0, len(table) - PAST - FUTURE, stride)
    past = torch.stack([table[s : s + PAST] for s in starts])
    future = torch.stack([table[s + PAST : s + PAST + FUTURE, 2] for s in starts])
    return TensorDataset(past, future)


def main():
    torch.manual_seed(0)
    table = np.genfromtxt(DATA / "ETTh1.csv", delimiter=",", skip_header=1, usecols=range(1, 8), dtype=np.float32)
    table = torch.from_numpy((table - table[:8640].mean(0)) / table[:8640].std(0))
    train_loader = DataLoader(windows(table[:8640], 4), batch_size=64, shuffle=True)
    val_loader = DataLoader(windows(table[8640:11520], 12), batch_size=256)
    model = ConvForecaster(7)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        model.train()
        for past, future in train_loader:
            loss = nn.functional.mse_loss(model(past), future)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = np.mean([nn.functional.mse_loss(model(p), f).item() for p, f in val_loader])
        print(f"epoch {epoch} train {loss.item():.3f} val {val:.3f}")


if __name__ == "__main__":
    main()
