"""Transformer load one day ahead from the last four days (ETTh1), split by time."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
PAST, FUTURE, MONTH, TARGET = 96, 24, 30 * 24, 2  # the middle useful load


class Windows(Dataset):
    def __init__(self, series, stride):
        self.series, self.stride = torch.from_numpy(series), stride

    def __len__(self):
        return (len(self.series) - PAST - FUTURE) // self.stride + 1

    def __getitem__(self, i):
        start = i * self.stride
        past = self.series[start : start + PAST]
        future = self.series[start + PAST : start + PAST + FUTURE, TARGET]
        return past, future


class Forecaster(nn.Module):
    """Predicts the difference to the same hour of the day before."""

    def __init__(self, channels, hidden=32):
        super().__init__()
        self.gru = nn.GRU(channels, hidden, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, FUTURE)

    def forward(self, past):
        _, h = self.gru(past[:, -48:])
        return past[:, -FUTURE:, TARGET] + self.head(self.drop(h[-1]))


def evaluate(model, loader):
    model.eval()
    total = naive = n = 0.0
    with torch.no_grad():
        for past, future in loader:
            total += (model(past) - future).pow(2).sum().item()
            naive += (past[:, -FUTURE:, TARGET] - future).pow(2).sum().item()
            n += future.numel()
    return total / n, naive / n


def main():
    torch.manual_seed(0)
    table = np.genfromtxt(DATA / "ETTh1.csv", delimiter=",", skip_header=1, usecols=range(1, 8), dtype=np.float32)
    train, val = table[: 12 * MONTH], table[12 * MONTH - PAST : 16 * MONTH]
    mean, std = train.mean(0), train.std(0)
    train_loader = DataLoader(Windows((train - mean) / std, 3), batch_size=64, shuffle=True)
    val_loader = DataLoader(Windows((val - mean) / std, 12), batch_size=256)
    model = Forecaster(table.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.MSELoss()
    for epoch in range(4):
        model.train()
        losses = []
        for past, future in train_loader:
            loss = criterion(model(past), future)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        val_mse, naive = evaluate(model, val_loader)
        print(f"epoch {epoch} train {np.mean(losses):.4f} val {val_mse:.4f} (yesterday {naive:.4f})")


if __name__ == "__main__":
    main()
