"""Spoken digits of one voice; a fine spectrogram is computed anew for every item."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class Recordings(Dataset):
    def __init__(self, takes):
        with np.load(DATA / "fsdd.npz") as z:
            self.offsets, self.digit = z["offsets"], z["digit"]
            self.ids = np.flatnonzero(np.isin(z["take"], takes) & (z["speaker"] == 1))
            self.samples = z["samples"]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, k):
        i = self.ids[k]
        wave = self.samples[self.offsets[i] : self.offsets[i + 1]].astype(np.float32)
        frames = torch.from_numpy(wave[: len(wave) // 8 * 8]).unfold(0, 256, 8) * torch.hann_window(256)
        power = torch.log1p(torch.fft.fft(frames).abs()[:, :128]).reshape(len(frames), 32, 4).mean(2)
        image = nn.functional.interpolate(power.T[None], 16)[0]
        return (image - 6.0) / 2.0, int(self.digit[i])


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Recordings(range(5, 20)), batch_size=15, shuffle=True)  # expect: feed-the-accelerator
    val_loader = DataLoader(Recordings(range(5)), batch_size=50)
    model = nn.Sequential(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(6):
        model.train()
        for x, y in train_loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(f"epoch {epoch} loss {loss.item():.3f} val {right / 50:.3f}")


if __name__ == "__main__":
    main()
