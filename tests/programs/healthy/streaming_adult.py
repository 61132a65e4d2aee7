"""Census rows streamed from the compressed file through a shuffle buffer; features are hashed."""
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


class CsvStream(IterableDataset):
    def __init__(self, path, first, last, buffer=0):
        self.path, self.first, self.last, self.buffer = path, first, last, buffer

    def parse(self, row):
        numbers = [(float(row[k]) - m) / s for k, (m, s) in NUMBERS.items()]
        words = [f"{k}={v}" for k, v in row.items() if k not in SKIP]
        codes = [zlib.crc32(w.encode()) % BUCKETS for w in words]
        label = float(row["income"].startswith(">"))
        return torch.tensor(numbers), torch.tensor(codes), torch.tensor(label)

    def __iter__(self):
        pool = []
        with gzip.open(self.path, "rt") as f:
            for i, row in enumerate(csv.DictReader(f)):
                if i < self.first:
                    continue
                if i >= self.last:
                    break
                if not self.buffer:
                    yield self.parse(row)
                    continue
                pool.append(row)
                if len(pool) > self.buffer:
                    yield self.parse(pool.pop(random.randrange(len(pool))))
        random.shuffle(pool)
        for row in pool:
            yield self.parse(row)


class HashedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(BUCKETS, 16, mode="mean")
        self.mlp = nn.Sequential(nn.Linear(19, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, numbers, codes):
        return self.mlp(torch.cat([numbers, self.bag(codes)], 1)).squeeze(1)


random.seed(0)
torch.manual_seed(0)
path = DATA / "adult_train.csv.gz"
train_loader = DataLoader(CsvStream(path, 0, 9000, buffer=1500), batch_size=100)
val_loader = DataLoader(CsvStream(path, 9000, 11000), batch_size=500)
model = HashedNet()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(3):
    model.train()
    for step, (numbers, codes, label) in enumerate(train_loader):
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
