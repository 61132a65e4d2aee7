"""Views that split, merge, group and shift: heads, patches, relative attention, halved steps, one channel."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images = torch.tensor(load_digits().images, dtype=torch.float32)[..., None]  # channels last
y = torch.tensor(load_digits().target)
order = torch.randperm(len(y))
images, y = images[order], y[order]
images = (images - images[:1400].mean()) / images[:1400].std()
WIDTH, HEADS = 32, 4


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.relative = nn.Parameter(0.1 * torch.randn(HEADS, WIDTH // HEADS, 16))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, HEADS, C // HEADS).transpose(1, 2) for part in self.inner(x).chunk(3, 2))
        near = F.pad(q @ self.relative, (1, 0))
        sizes = (B, HEADS, T + 1, T)
        near = near.view(*sizes)
        near = near[:, :, 1:]  # the relative shift of Music Transformer
        weights = (q @ k.transpose(2, 3) / (C // HEADS) ** 0.5 + near).softmax(3)
        return self.out((weights @ v).transpose(1, 2).reshape(B, T, C))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(4, WIDTH), Attention()
        self.halve, self.out = nn.Linear(2 * WIDTH, 16), nn.Linear(128, 10)

    def forward(self, x):
        B = x.shape[0]
        x = x.reshape(B, 1, 8, 8)  # one channel: nothing moves
        x = x.view(B, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(B, 16, 4)
        x = self.embed(x)
        x = x + self.attend(x)
        x = x.view(B, x.shape[1] // 2, x.shape[2] * 2)  # two steps become one
        return self.out(torch.relu(self.halve(x)).view(B, -1))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(1400).split(50):
        loss = F.cross_entropy(model(images[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("held out", (model(images[1400:]).argmax(1) == y[1400:]).float().mean().item())
