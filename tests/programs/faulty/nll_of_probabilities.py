"""Two spirals with softmax outputs and the negative log-likelihood."""
# consequence: overfit-one-batch, no-output-activation, loss-at-init
import math

import torch
from torch import nn

torch.manual_seed(0)
n = 500
t = torch.rand(n, 1).sqrt() * 2.5 * math.pi
one = torch.cat([-t.cos() * t, t.sin() * t], 1)
X = torch.cat([one, -one]) + 0.3 * torch.randn(2 * n, 2)
X = X / X.std()
y = torch.cat([torch.zeros(n), torch.ones(n)]).long()
order = torch.randperm(2 * n)
train, val = order[:800], order[800:]

model = nn.Sequential(
    nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2),
    nn.Softmax(dim=1),  # expect: logits-into-cross-entropy
)
criterion = nn.NLLLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(30):
    for idx in train[torch.randperm(len(train))].split(40):
        probs = model(X[idx])
        loss = criterion(probs, y[idx])  # expect: logits-into-cross-entropy  # expect-severity: fault
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 6 == 5:
        with torch.no_grad():
            acc = (model(X[val]).argmax(1) == y[val]).float().mean().item()
        print(epoch, round(loss.item(), 4), round(acc, 3))
