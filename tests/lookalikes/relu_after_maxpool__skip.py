"""The rectified map before the pool is used again in a skip connection, as in a U-Net: it cannot move."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None]
x = x[torch.randperm(len(x))] / 16
target = (x > 0.5).float()
noisy = x + 0.2 * torch.randn_like(x)
noisy = (noisy - noisy[:1400].mean()) / noisy[:1400].std()


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.inner = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.up = nn.Conv2d(24, 1, 3, padding=1)

    def forward(self, x):
        kept = F.relu(self.down(x))
        inner = F.relu(self.inner(F.max_pool2d(kept, 2)))
        return self.up(torch.cat([kept, F.interpolate(inner, scale_factor=2)], 1))


model = UNet()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(5):
    for rows in torch.randperm(1400).split(50):
        loss = F.binary_cross_entropy_with_logits(model(noisy[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("pixels", ((model(noisy[1400:]) > 0).float() == target[1400:]).float().mean().item())
