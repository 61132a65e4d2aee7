"""Dies in the middle of training with a traceback through helper functions."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(21)
model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), 0.1)


class Ragged(ValueError):
    pass


def batches():
    for step in range(20):
        x = torch.randn(16, 5)
        if step == 12:
            finish(model)
            x = x[:, :4]
        yield x, torch.randint(0, 3, (len(x),))


def train_step(x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


for x, y in batches():
    try:
        print(repr(train_step(x, y)))
    except RuntimeError as error:
        raise Ragged(f"batch of shape {tuple(x.shape)}") from error
