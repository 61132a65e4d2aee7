"""An endless stream without a length, shuffled in a buffer, cut by the step count."""

import itertools
import random

import torch
from _fingerprint import finish
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __init__(self, seed):
        self.source = random.Random(seed)
        self.opened = 0

    def rows(self):
        while True:
            a = [self.source.gauss(0, 1) for _ in range(5)]
            yield torch.tensor(a), torch.tensor([a[0] - 2 * a[1] + a[2] * a[3]])

    def __iter__(self):
        self.opened += 1
        rows = self.rows()
        buffer = list(itertools.islice(rows, 64))
        for row in rows:
            i = random.randrange(64)
            yield buffer[i]
            buffer[i] = row


random.seed(8)
torch.manual_seed(8)
stream = Stream(8)
loader = DataLoader(stream, batch_size=16)
model = nn.Sequential(nn.Linear(5, 32), nn.SiLU(), nn.Linear(32, 1))
optimizer = torch.optim.RMSprop(model.parameters(), 3e-3)
huber = nn.HuberLoss()
for step, (x, y) in enumerate(loader):
    loss = huber(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 30 == 0:
        print(step, repr(loss.item()))
    if step == 150:
        break
print("opened", stream.opened, "next", stream.source.random())
finish(model, optimizer)
