"""Twelve layers, normal weights with a standard deviation of 0.01."""
# consequence: overfit-one-batch
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def make_net(width=64, depth=12):
    sizes = [64] + [width] * depth
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layer = nn.Linear(a, b)  # expect: scaled-init
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))  # expect: scaled-init


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
loader, val_loader = DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=400)
net = make_net()
criterion = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(6):
    net.train()
    for xb, yb in loader:
        opt.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in val_loader) / len(val)
    print(f"epoch {epoch} loss {loss.item():.4f} val {acc:.3f}")
