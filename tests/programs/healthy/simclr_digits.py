"""Contrastive pre-training (InfoNCE over the batch) on digits, then a linear probe."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
labels = torch.tensor(digits.target)
train_set, test_set = random_split(TensorDataset(images, labels), [1400, len(images) - 1400])


def augment(x):
    """Random shift by one pixel, brightness and noise."""
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    dx, dy = torch.randint(0, 3, (2,)).tolist()
    x = padded[:, :, dy : dy + 8, dx : dx + 8]
    gain = 1 + 0.2 * torch.randn(len(x), 1, 1, 1)
    return (x + 1) * gain - 1 + 0.15 * torch.randn_like(x)


class Encoder(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, dim), nn.ReLU(),
        )
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 32))

    def forward(self, x):
        return F.normalize(self.projector(self.body(x)), dim=1)


def info_nce(a, b, temperature=0.2):
    logits = a @ b.T / temperature
    target = torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


encoder = Encoder()
optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
loader = DataLoader(train_set, batch_size=128, shuffle=True, drop_last=True)
for epoch in range(15):
    total = 0.0
    for x, _ in loader:
        loss = info_nce(encoder(augment(x)), encoder(augment(x)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 3 == 0:
        print(f"epoch {epoch:2d} contrastive loss {total / len(loader):.3f}")

encoder.eval()
with torch.no_grad():
    features = encoder.body(images)
train_idx, test_idx = train_set.indices, test_set.indices
probe = LogisticRegression(max_iter=2000).fit(features[train_idx], labels[train_idx])
print(f"linear probe accuracy {probe.score(features[test_idx], labels[test_idx]):.3f}")
