"""Digits through six sigmoid layers."""
# consequence: overfit-one-batch
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)


def hidden(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, n_out), nn.Sigmoid())  # expect: no-sigmoid-tanh


digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)
order = torch.randperm(len(x))
train, val = order[:1400], order[1400:]
model = nn.Sequential(
    hidden(64, 64), hidden(64, 64), hidden(64, 64), hidden(64, 64), hidden(64, 64), hidden(64, 64), nn.Linear(64, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(8):
    for idx in train[torch.randperm(1400)].split(50):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[idx]), y[idx])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = (model(x[val]).argmax(1) == y[val]).float().mean()
    print(epoch, round(loss.item(), 4), round(acc.item(), 3))
