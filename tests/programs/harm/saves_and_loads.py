"""Pickles a whole network of a class of this script, copies it, resumes from the file."""

import copy
import os
import pickle
import tempfile

import torch
import torch.nn.functional as F
from _fingerprint import digest, finish
from torch import nn


class Residual(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.a, self.b = nn.Linear(n, n), nn.Linear(n, 2)

    def forward(self, x):
        return self.b(x + F.relu(self.a(x)))


def train(model, optimizer, steps):
    for _ in range(steps):
        x = torch.randn(32, 6)
        loss = F.cross_entropy(model(x), (x[:, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


torch.manual_seed(24)
model = Residual(6)
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
print(repr(train(model, optimizer, 20)))
twin = copy.deepcopy(model)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    torch.save({"model": model, "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}, path)
    saved = torch.load(path, weights_only=False)
print(len(pickle.dumps(model)), sorted(vars(model)), type(saved["model"]).__module__)
model = saved["model"]
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
optimizer.load_state_dict(saved["optimizer"])
torch.set_rng_state(saved["rng"])
print(repr(train(model, optimizer, 20)))
print(digest(twin.named_parameters()))
finish(model, optimizer)
