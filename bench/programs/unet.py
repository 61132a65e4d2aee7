"""A small U-Net that cleans noisy Fashion-MNIST pictures."""

import numpy as np
import torch
import torch.nn.functional as F
from stopwatch import DATA, Stopwatch, steps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

n_steps = steps(300)
torch.manual_seed(0)
pictures = np.load(DATA / "fashion_mnist.npz")["x_train"][:4_000]
pictures = torch.from_numpy(pictures).float().div(255).unsqueeze(1)


def double(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = double(1, 8), double(8, 16), double(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge2, self.merge1 = double(32, 16), double(16, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.bottom(F.max_pool2d(second, 2))
        x = self.merge2(torch.cat([self.up2(x), second], 1))
        x = self.merge1(torch.cat([self.up1(x), first], 1))
        return self.out(x)


loader = DataLoader(TensorDataset(pictures), batch_size=32, shuffle=True)
model = UNet()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

step = 0
with Stopwatch():
    while step < n_steps:
        for (clean,) in loader:
            noisy = clean + 0.3 * torch.randn_like(clean)
            loss = F.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == n_steps:
                break
print(f"loss {loss.item():.4f}")
