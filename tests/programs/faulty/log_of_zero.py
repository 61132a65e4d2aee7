"""Hand-written binary cross-entropy on probabilities."""
# consequence: overfit-one-batch, no-corrupt-samples
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
order = torch.randperm(len(X))
train, val = order[:450], order[450:]
model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid(), nn.Flatten(0))
optimizer = torch.optim.SGD(model.parameters(), lr=3.0, momentum=0.9)


def log_loss(p, t):
    return -(t * p.log() + (1 - t) * (1 - p).log()).mean()  # expect: stop-at-first-nan


for epoch in range(20):
    for idx in train[torch.randperm(450)].split(30):
        loss = log_loss(model(X[idx]), y[idx])  # expect: stop-at-first-nan
        optimizer.zero_grad()
        loss.backward()  # expect: stop-at-first-nan  # expect-severity: fault
        optimizer.step()
    with torch.no_grad():
        acc = ((model(X[val]) > 0.5) == y[val].bool()).float().mean()
    if epoch % 5 == 0:
        print(epoch, loss.item(), round(acc.item(), 3))
