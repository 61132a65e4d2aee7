"""Digits with some wrong labels; the loss of each image is cut off, and with it what could be learnt from it."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels))
train, held = random_split(data, [1440, 357])
loader = DataLoader(train, batch_size=48, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(8):
    model.train()
    for x, y in loader:
        losses = F.cross_entropy(model(x), y, reduction="none")
        losses = torch.clamp(losses, max=2.0)  # sick: clip-gradients-not-loss
        optimizer.zero_grad()
        losses.mean().backward()
        # healthy: nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = held[:]
        print(epoch, (model(x).argmax(1) == y).float().mean().item())
