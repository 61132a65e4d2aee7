"""A small sweep: several learning rates and widths in one script, the best one is tested once."""
import itertools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(0)
data = load_breast_cancer()
x = torch.tensor(data.data, dtype=torch.float32).log1p()
y = torch.tensor(data.target, dtype=torch.float32)
order = torch.randperm(len(x))
train, val, test = order[:350], order[350:460], order[460:]
x = (x - x[train].mean(0)) / x[train].std(0)


def run(lr, width):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 1))
    opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3)
    for _ in range(15):
        for idx in train[torch.randperm(len(train))].split(35):
            loss = F.binary_cross_entropy_with_logits(model(x[idx])[:, 0], y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


def evaluate(model, idx):
    with torch.no_grad():
        logits = model(x[idx])[:, 0]
    return F.binary_cross_entropy_with_logits(logits, y[idx]).item(), ((logits > 0) == y[idx]).float().mean().item()


results = {}
for lr, width in itertools.product([0.01, 0.03, 0.1], [8, 32]):
    model = run(lr, width)
    val_loss, val_acc = evaluate(model, val)
    results[val_loss] = (lr, width, model)
    print(f"lr {lr:<5} width {width:<3} val loss {val_loss:.4f} acc {val_acc:.3f}")

lr, width, best = results[min(results)]
loss, acc = evaluate(best, test)
print(f"best lr {lr} width {width}: test loss {loss:.4f} acc {acc:.3f}")
