"""Squeeze-and-excitation CNN on digits; the loss is summed and divided by the batch size."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(0)


class SEBlock(nn.Module):
    """Channel gates from a global average."""

    def __init__(self, channels, reduction=4):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(channels, channels // reduction), nn.ReLU(),
            nn.Linear(channels // reduction, channels), nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.gate(x)[:, :, None, None]


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.se1 = SEBlock(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.se2 = SEBlock(32)
        self.fc = nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = self.se1(F.relu(F.max_pool2d(self.conv1(x), 2)))
        x = self.se2(F.relu(F.max_pool2d(self.conv2(x), 2)))
        return self.fc(x.flatten(1))


digits = load_digits()
X = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
y = torch.tensor(digits.target)
tr, va = train_test_split(torch.arange(len(X)), test_size=0.25, random_state=0, stratify=y)
X = (X - X[tr].mean()) / X[tr].std()
net = SENet()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)

for epoch in range(10):
    net.train()
    for idx in tr[torch.randperm(len(tr))].split(64):
        loss = F.cross_entropy(net(X[idx]), y[idx], reduction="sum") / len(idx)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        out = net(X[va])
    print(f"{epoch} loss {F.cross_entropy(out, y[va]):.4f} acc {(out.argmax(1) == y[va]).float().mean():.4f}")
