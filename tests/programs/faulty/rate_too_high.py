"""Housing-like regression with a learning rate copied from somewhere else."""
# consequence: stop-at-first-nan, watch-dead-units
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(1000, 8)
y = x @ torch.randn(8, 1) + 0.3 * torch.randn(1000, 1)
y = (y - y.mean()) / y.std()
loader = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)  # expect: learning-rate-first
criterion = nn.MSELoss()
for epoch in range(6):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, loss.item(), criterion(model(x[800:]), y[800:]).item())
