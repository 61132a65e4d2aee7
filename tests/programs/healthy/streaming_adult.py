"""Census rows in shards, streamed through a shuffle buffer; the categories are hashed."""
import csv
import gzip
import os
import random
import zlib
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
BUCKETS = 4096
NUMBERS = {"age": (38.6, 13.6), "education_num": (10.1, 2.6), "hours_per_week": (40.4, 12.3)}
SKIP = {"income", "fnlwgt", *NUMBERS}


def parse(row):
    numbers = [(float(row[k]) - m) / s for k, (m, s) in NUMBERS.items()]
    codes = [zlib.crc32(f"{k}={v}".encode()) % BUCKETS for k, v in row.items() if k not in SKIP]
    return numbers, codes, float(row["income"].startswith(">"))


def read_shards(path, size, limit):
    """Parse the file once into shards of tensors."""
    with gzip.open(path, "rt") as f:
        rows = [parse(row) for row, _ in zip(csv.DictReader(f), range(limit))]
    shards = []
    for i in range(0, len(rows), size):
        numbers, codes, labels = zip(*rows[i : i + size])
        shards.append((torch.tensor(numbers), torch.tensor(codes), torch.tensor(labels)))
    return shards


class ShardStream(IterableDataset):
    """Ready batches; training draws them from several shards at a time, in random order."""

    def __init__(self, shards, batch_size, shuffle, mix=3):
        self.shards, self.batch_size, self.shuffle, self.mix = shards, batch_size, shuffle, mix

    def __iter__(self):
        order = list(range(len(self.shards)))
        if self.shuffle:
            random.shuffle(order)
        for i in range(0, len(order), self.mix):
            columns = [torch.cat(c) for c in zip(*(self.shards[j] for j in order[i : i + self.mix]))]
            n = len(columns[0])
            rows = torch.randperm(n) if self.shuffle else torch.arange(n)
            for pick in rows.split(self.batch_size):
                yield tuple(c[pick] for c in columns)


class HashedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(BUCKETS, 16, mode="mean")
        self.mlp = nn.Sequential(nn.Linear(19, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, numbers, codes):
        return self.mlp(torch.cat([numbers, self.bag(codes)], 1)).squeeze(1)


random.seed(0)
torch.manual_seed(0)
shards = read_shards(DATA / "adult_train.csv.gz", size=500, limit=11000)
train_loader = DataLoader(ShardStream(shards[:18], 100, shuffle=True), batch_size=None)
val_loader = DataLoader(ShardStream(shards[18:], 500, shuffle=False), batch_size=None)
model = HashedNet()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(4):
    model.train()
    for numbers, codes, label in train_loader:
        loss = loss_fn(model(numbers, codes), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    losses, right = [], []
    with torch.no_grad():
        for numbers, codes, label in val_loader:
            out = model(numbers, codes)
            losses.append(loss_fn(out, label).item())
            right.append(((out > 0) == label.bool()).float().mean().item())
    print(f"epoch {epoch} val loss {sum(losses) / len(losses):.4f} accuracy {sum(right) / len(right):.4f}")
