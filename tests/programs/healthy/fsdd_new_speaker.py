"""Spoken digits by a voice that was never heard: split by speaker, GRU over band energies."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
HELD_OUT = 4


def bands(wave, n=20):
    """One row of log band energies every 20 ms; each recording is normalised by its own loudness."""
    frames = torch.from_numpy(wave.astype(np.float32)).unfold(0, 256, 160)
    power = torch.fft.rfft(frames * torch.hann_window(256)).abs()[:, 1:121].pow(2)
    log = torch.log(power.reshape(len(frames), n, -1).mean(2) + 1.0)
    return log - log.mean()


def collate(batch):
    batch = sorted(batch, key=lambda item: -len(item[0]))
    lengths = torch.tensor([len(f) for f, _ in batch])
    return pad_sequence([f for f, _ in batch], batch_first=True), lengths, torch.tensor([d for _, d in batch])


class GRUClassifier(nn.Module):
    def __init__(self, n_in=20, hidden=40):
        super().__init__()
        self.gru = nn.GRU(n_in, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.4)
        self.out = nn.Linear(2 * hidden, 10)

    def forward(self, x, lengths):
        _, h = self.gru(pack_padded_sequence(x, lengths, batch_first=True))
        return self.out(self.drop(torch.cat([h[0], h[1]], 1)))


def evaluate(model, loader):
    model.eval()
    with torch.inference_mode():
        hits = [(model(x, n).argmax(1) == y).sum().item() for x, n, y in loader]
    return sum(hits) / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(0)
    z = np.load(DATA / "fsdd.npz")
    samples, offsets = z["samples"], z["offsets"]
    keep = np.flatnonzero(z["take"] % 3 == 0)
    features = {i: bands(samples[offsets[i] : offsets[i + 1]]) for i in keep}
    speaker, digit = z["speaker"], z["digit"]
    train_ids = [i for i in keep if speaker[i] != HELD_OUT]
    everything = torch.cat([features[i] for i in train_ids])
    mean, std = everything.mean(0), everything.std(0)
    items = {i: ((f - mean) / std, int(digit[i])) for i, f in features.items()}
    train = DataLoader([items[i] for i in train_ids], batch_size=32, shuffle=True, collate_fn=collate)
    val = DataLoader([items[i] for i in keep if speaker[i] == HELD_OUT], batch_size=100, collate_fn=collate)

    model = GRUClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, lengths, y in train:
            loss = nn.functional.cross_entropy(model(x, lengths), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(train):.3f} unheard speaker {evaluate(model, val):.3f}")
