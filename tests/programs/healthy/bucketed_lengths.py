"""Predict the last letter of a name; batches hold names of similar length, in random order."""
import os
import random
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Sampler

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class BucketSampler(Sampler):
    """Shuffles, sorts within chunks of 50 batches, and yields the batches in random order."""

    def __init__(self, lengths, batch_size):
        self.lengths, self.batch_size = lengths, batch_size

    def __len__(self):
        return (len(self.lengths) + self.batch_size - 1) // self.batch_size

    def __iter__(self):
        order = list(range(len(self.lengths)))
        random.shuffle(order)
        batches = []
        for i in range(0, len(order), 50 * self.batch_size):
            chunk = sorted(order[i : i + 50 * self.batch_size], key=self.lengths.__getitem__)
            batches += [chunk[j : j + self.batch_size] for j in range(0, len(chunk), self.batch_size)]
        random.shuffle(batches)
        yield from batches


def collate(words):
    x = [torch.tensor([ord(c) - 96 for c in w[:-1]]) for w in words]
    lengths = torch.tensor([len(v) for v in x])
    return nn.utils.rnn.pad_sequence(x, batch_first=True), lengths, torch.tensor([ord(w[-1]) - 97 for w in words])


class LastLetter(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(27, 24, padding_idx=0)
        self.gru = nn.GRU(24, 64, batch_first=True)
        self.out = nn.Linear(64, 26)

    def forward(self, x, lengths):
        states, _ = self.gru(self.embed(x))
        last = states[torch.arange(len(x)), lengths - 1]
        return self.out(last)


def main():
    random.seed(0)
    torch.manual_seed(0)
    words = sorted({w for w in (DATA / "names.txt").read_text().split() if len(w) > 3})
    random.shuffle(words)
    train, val = words[:9000], words[9000:10500]
    train_loader = DataLoader(train, batch_sampler=BucketSampler([len(w) for w in train], 60), collate_fn=collate)
    val_loader = DataLoader(val, batch_size=250, collate_fn=collate)
    model = LastLetter()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        model.train()
        for x, n, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x, n), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores = [(criterion(out := model(x, n), y).item(), (out.argmax(1) == y).float().mean().item()) for x, n, y in val_loader]
        losses, accs = zip(*scores)
        print(f"epoch {epoch} val loss {sum(losses) / len(losses):.3f} accuracy {sum(accs) / len(accs):.3f}")


if __name__ == "__main__":
    main()
