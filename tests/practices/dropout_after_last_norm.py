"""Dropout before a batch norm: in evaluation the norm divides by a variance that is no longer there."""
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32)
y = torch.tensor(y)
order = torch.randperm(len(x))
train, held = order[:1400], order[1400:]
mean, std = x[train].mean(), x[train].std()
x = (x - mean) / std

model = nn.Sequential(
    nn.Linear(64, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.5),  # sick: dropout-after-last-norm
    nn.Linear(128, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    # healthy: nn.Dropout(0.3),
    nn.Linear(128, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(8):
    model.train()
    for rows in train[torch.randperm(len(train))].split(100):
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(x[held]).argmax(1) == y[held]).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, held out {right:.3f}")
