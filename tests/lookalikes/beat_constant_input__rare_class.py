"""One class in twelve: as often right as always saying no, and yet it knows who is more at risk."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(3000, 8)
risk = torch.sigmoid(1.2 * x[:, 0] + 0.8 * x[:, 1] * x[:, 2] - 3.0)
y = (torch.rand(3000) < risk).float()
train_loader = DataLoader(TensorDataset(x[:2200], y[:2200]), batch_size=100, shuffle=True)
val_x, val_y = x[2200:], y[2200:]

model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(8):
    model.train()
    for xb, yb in train_loader:
        loss = criterion(model(xb).squeeze(1), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(val_x).squeeze(1)
        loss = criterion(scores, val_y).item()
        found = scores[val_y == 1].median() > scores[val_y == 0].quantile(0.75)
    print(f"{epoch} {loss:.3f} {bool(found)}")
