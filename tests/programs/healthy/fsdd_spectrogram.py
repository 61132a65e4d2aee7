"""Spoken digits: log spectrogram, small convolutional net, label smoothing, official split."""
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
FRAMES, BANDS = 32, 32


def spectrogram(wave):
    """(FRAMES, BANDS) log energies, stretched to a fixed length."""
    wave = torch.from_numpy(wave.astype(np.float32) / 32768)
    spec = torch.stft(wave, 256, hop_length=96, window=torch.hann_window(256), return_complex=True)
    energy = spec.abs()[:128].pow(2).reshape(BANDS, 4, -1).mean(1)
    energy = nn.functional.interpolate(torch.log(energy + 1e-6)[None], FRAMES)[0]
    return energy


def load(path):
    z = np.load(path)
    offsets, take, digit = z["offsets"], z["take"], z["digit"]
    samples = z["samples"]
    chosen = np.flatnonzero((take < 5) | (take % 3 == 0))
    x = torch.stack([spectrogram(samples[offsets[i] : offsets[i + 1]]) for i in chosen]).unsqueeze(1)
    y = torch.from_numpy(digit[chosen].astype(np.int64))
    test = torch.from_numpy(take[chosen] < 5)
    return x, y, test


class SpeechNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 10),
        )

    def forward(self, x):
        return self.net(x)


def main():
    torch.manual_seed(0)
    x, y, is_test = load(DATA / "fsdd.npz")
    rest = torch.randperm(int((~is_test).sum()))
    x_rest, y_rest = x[~is_test][rest], y[~is_test][rest]
    mean, std = x_rest[:720].mean(), x_rest[:720].std()
    train = TensorDataset((x_rest[:720] - mean) / std, y_rest[:720])
    val = TensorDataset((x_rest[720:] - mean) / std, y_rest[720:])
    test = TensorDataset((x[is_test] - mean) / std, y[is_test])
    print(len(train), "training", len(val), "validation", len(test), "test recordings")

    model = SpeechNet()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train_loader = DataLoader(train, batch_size=36, shuffle=True)

    def accuracy(dataset):
        model.eval()
        hits = 0
        with torch.no_grad():
            for xb, yb in DataLoader(dataset, batch_size=150):
                hits += (model(xb).argmax(-1) == yb).sum().item()
        return hits / len(dataset)

    for epoch in range(6):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.3f} val {accuracy(val):.3f}")
    print(f"test {accuracy(test):.3f}")


if __name__ == "__main__":
    main()
