"""Six convolutions in a row without any norm layer."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 8, 8)
y = torch.tensor(y)
order = torch.randperm(len(x))
train, held = order[:1400], order[1400:]
mean, std = x[train].mean(), x[train].std()
x = (x - mean) / std


class Block(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)  # sick: batch-norm
        # healthy: self.conv = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        # healthy: self.norm = nn.BatchNorm2d(outside)

    def forward(self, x):
        x = self.conv(x)
        # healthy: x = self.norm(x)
        return torch.relu(x)


model = nn.Sequential(
    Block(1, 8), Block(8, 8), nn.MaxPool2d(2), Block(8, 16), Block(16, 16), nn.MaxPool2d(2),
    Block(16, 16), Block(16, 16), nn.Flatten(), nn.Linear(64, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
batches = DataLoader(TensorDataset(x[train], y[train]), batch_size=100, shuffle=True, drop_last=True)
for epoch in range(8):
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(x[held]).argmax(1) == y[held]).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, held out {right:.3f}")
