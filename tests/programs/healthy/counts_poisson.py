"""Counts with a Poisson likelihood: the network gives the log rate."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
x = torch.rand(3000, 5) * 2 - 1
rate = torch.exp(0.8 + x[:, 0] - 0.7 * x[:, 1] * x[:, 2] + 0.5 * torch.sin(3 * x[:, 3]))
y = torch.poisson(rate)
train, val = random_split(TensorDataset(x, y, rate), [2400, 600])
model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
criterion = nn.PoissonNLLLoss(log_input=True)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
train_loader, val_loader = DataLoader(train, batch_size=80, shuffle=True), DataLoader(val, batch_size=300)
for epoch in range(10):
    model.train()
    for xb, yb, _ in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    nll = error = 0.0
    with torch.no_grad():
        for xb, yb, rb in val_loader:
            out = model(xb)
            nll += criterion(out, yb).item() / len(val_loader)
            error += ((out.exp() - rb).abs() / rb).mean().item() / len(val_loader)
    print(f"epoch {epoch} val nll {nll:.4f} mean relative error of the rate {error:.3f}")
