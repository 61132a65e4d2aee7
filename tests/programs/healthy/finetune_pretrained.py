"""Fine-tune saved weights on a related task: fresh optimizer, small rate for the body, larger for the head."""
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * 49, 64), nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.body(x))


def mnist(start, stop, invert=False):
    with np.load(DATA / "mnist.npz") as z:
        x = (torch.from_numpy(z["x_train"][start:stop]).float().unsqueeze(1) / 255 - 0.1307) / 0.3081
        y = torch.from_numpy(z["y_train"][start:stop]).long()
    return TensorDataset(x.transpose(2, 3) if invert else x, y)


def fit(model, data, optimizer, epochs):
    model.train()
    loader = DataLoader(data, batch_size=50, shuffle=True)
    for _ in range(epochs):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test(model, data):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(data, 250)) / len(data)


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "pretrained.pt")
    source = Net()
    fit(source, mnist(0, 3000), torch.optim.Adam(source.parameters(), lr=1e-3), epochs=3)
    print(f"source task {test(source, mnist(3000, 3500)):.3f}")
    torch.save(source.state_dict(), path)

    model = Net()
    model.load_state_dict(torch.load(path))
mirrored_val = mnist(5000, 5500, invert=True)
print(f"mirrored digits before fine-tuning {test(model, mirrored_val):.3f}")
optimizer = torch.optim.Adam(
    [{"params": model.body.parameters(), "lr": 1e-3}, {"params": model.head.parameters(), "lr": 2e-3}]
)
fit(model, mnist(4000, 5000, invert=True), optimizer, epochs=8)
print(f"mirrored digits after fine-tuning {test(model, mirrored_val):.3f}")
