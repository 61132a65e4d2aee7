"""A compiled network and a compiled training step (backend eager: no compiler needed)."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch._dynamo.utils import counters

torch.manual_seed(12)
x = torch.randn(128, 8)
y = (x[:, 0] > x[:, 1]).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
compiled = torch.compile(model, backend="eager")
optimizer = torch.optim.Adam(model.parameters(), 3e-3)


@torch.compile(backend="aot_eager")
def distance(a, b):
    return F.cross_entropy(a, b) + 1e-4 * (a**2).mean()


for epoch in range(4):
    for pick in torch.randperm(128).split(32):
        loss = distance(compiled(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, repr(loss.item()))
model.eval()
with torch.no_grad():
    print(repr((compiled(x).argmax(1) == y).float().mean().item()))
print("graphs", counters["stats"]["unique_graphs"], "breaks", sum(counters["graph_break"].values()))
finish(model, optimizer)
