"""Training, validation and test loaders of different sizes, a validation pass in every epoch."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler, random_split

torch.manual_seed(20)
x = torch.randn(300, 10)
y = (x[:, 0] + 0.5 * x[:, 1] > 0.8).long()
train, valid, test = random_split(TensorDataset(x, y), [200, 60, 40])
labels = torch.stack([row[1] for row in train])
weights = (1.0 / labels.bincount().float())[labels]
train_loader = DataLoader(train, 20, sampler=WeightedRandomSampler(weights, 200), drop_last=True)
valid_loader = DataLoader(valid, 25)
test_loader = DataLoader(test, 40)
model = nn.Sequential(nn.Linear(10, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Dropout(0.3), nn.Linear(40, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)


@torch.no_grad()
def score(loader):
    model.eval()
    losses = [(F.cross_entropy(model(xb), yb, reduction="sum").item(), len(xb)) for xb, yb in loader]
    model.train()
    return sum(v for v, _ in losses) / sum(n for _, n in losses)


best, kept = float("inf"), None
for epoch in range(6):
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
    held = score(valid_loader)
    plateau.step(held)
    if held < best:
        best, kept = held, {k: v.clone() for k, v in model.state_dict().items()}
    print(epoch, repr(loss.item()), repr(held), optimizer.param_groups[0]["lr"])
model.load_state_dict(kept)
print("test", repr(score(test_loader)))
finish(model, optimizer)
