"""Most of the time goes into the loader: each picture is shifted, turned and noised in Python."""

import numpy as np
import torch
import torch.nn.functional as F
from stopwatch import DATA, Stopwatch, steps
from torch import nn
from torch.utils.data import DataLoader, Dataset

n_steps = steps(1_000)
torch.manual_seed(0)


class Augmented(Dataset):
    def __init__(self, n):
        z = np.load(DATA / "mnist.npz")
        self.x, self.y = z["x_train"][:n], z["y_train"][:n]
        self.random = np.random.default_rng(0)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        picture = np.roll(self.x[index], self.random.integers(-2, 3, 2), axis=(0, 1)).astype(
            np.float32
        )
        picture = picture / 255 + 0.1 * self.random.standard_normal((28, 28), dtype=np.float32)
        if self.random.random() < 0.5:
            picture = np.clip(picture * self.random.uniform(0.8, 1.2), 0, 1).astype(np.float32)
        return torch.from_numpy((picture - 0.1307) / 0.3081), int(self.y[index])


loader = DataLoader(Augmented(10_000), batch_size=64, shuffle=True)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

step = 0
with Stopwatch():
    while step < n_steps:
        for xb, yb in loader:
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == n_steps:
                break
print(f"loss {loss.item():.4f}")
