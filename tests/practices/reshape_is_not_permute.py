"""A convolution wants (batch, channels, steps); view gives the sizes and scrambles the numbers."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
N, STEPS, CHANNELS = 1600, 24, 3
time = torch.arange(STEPS) / STEPS
y = torch.randint(0, 4, (N,))
phase = torch.rand(N, 1, 1) * 6.28
wave = torch.sin(6.28 * (y[:, None, None] + 1) * time[None, :, None] + phase)
x = wave * torch.tensor([1.0, -0.5, 0.8]) + 0.6 * torch.randn(N, STEPS, CHANNELS)
x = (x - x.mean()) / x.std()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, 32, 7, padding=3)
        self.out = nn.Linear(32, 4)

    def forward(self, x):
        x = x.view(-1, CHANNELS, STEPS)  # sick: reshape-is-not-permute
        # healthy: x = x.permute(0, 2, 1)
        x = torch.relu(self.conv(x)).mean(2)
        return self.out(x)


model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
train = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=60, shuffle=True)
held = DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=200)
for epoch in range(8):
    model.train()
    for signals, labels in train:
        optimizer.zero_grad()
        loss = criterion(model(signals), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for signals, labels in held:
            right += (model(signals).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, held out {right / 400:.3f}")
