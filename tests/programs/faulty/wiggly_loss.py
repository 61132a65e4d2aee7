"""House values in table order (by district and price): the loss repeats itself every epoch."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
n = 2000
price = torch.linspace(-2, 2, n).unsqueeze(1)
x = torch.cat([price + 0.6 * torch.randn(n, 1), torch.randn(n, 5)], 1)
noise = (0.2 + price.abs()) * torch.randn(n, 1)
y = price + 0.3 * noise
y = (y - y.mean()) / y.std()
train_loader = DataLoader(TensorDataset(x, y), batch_size=20)  # expect: no-periodic-loss
model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
mse = nn.MSELoss()
for epoch in range(6):
    total = 0.0
    for xb, yb in train_loader:
        loss = mse(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(train_loader):.4f}")
