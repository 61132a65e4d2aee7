"""Which customers leave: one of the columns is money, and a few are a thousand times as rich."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
n = 3000
money = torch.exp(2.2 * torch.randn(n, 1))
others = torch.randn(n, 5)
leaves = (money.log().squeeze(1) + others[:, 0] + 0.5 * torch.randn(n) > 0).long()
# healthy: money = money.log()
x = torch.cat([money, others], dim=1)
x = (x - x[:2400].mean(0)) / x[:2400].std(0)
train_loader = DataLoader(TensorDataset(x[:2400], leaves[:2400]), batch_size=100, shuffle=True)
test_loader = DataLoader(TensorDataset(x[2400:], leaves[2400:]), batch_size=200)

model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(6):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        output = model(xb)  # sick: tame-input-range
        # healthy: output = model(xb)
        loss = criterion(output, yb)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            right += (model(xb).argmax(1) == yb).sum().item()
    print(f"epoch {epoch} accuracy {right / 600:.3f}")
