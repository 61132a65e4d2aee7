"""Noise augmentation with a numpy generator, two loader workers."""
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyDigits(Dataset):
    def __init__(self, rows, noise):
        digits = load_digits()
        self.x = ((digits.data[rows] - 4.9) / 6.0).astype(np.float32)
        self.y = digits.target[rows]
        self.noise = noise
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.noise:
            x = x + self.noise * self.rng.standard_normal(64).astype(np.float32)
        return torch.from_numpy(x), int(self.y[i])


def main():
    torch.manual_seed(0)
    train = NoisyDigits(slice(0, 1400), noise=0.3)
    val = NoisyDigits(slice(1400, None), noise=0.0)
    train_loader = DataLoader(train, batch_size=50, shuffle=True, num_workers=2)  # expect: worker-seeds
    val_loader = DataLoader(val, batch_size=200)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(5):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        print(f"epoch {epoch} loss {loss.item():.4f} val {right / len(val):.3f}")


if __name__ == "__main__":
    main()
