"""Random shifts with numpy in two loader workers, each worker with its own seed."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class ShiftedClothes(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            dy, dx = self.rng.integers(-1, 2, size=2)
            image = np.roll(image, (dy, dx), axis=(0, 1))
            if self.rng.random() < 0.5:
                image = image[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image[None])), int(self.labels[i])


def reseed(worker_id):
    get_worker_info().dataset.rng = np.random.default_rng([torch.initial_seed(), worker_id])


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )


def main():
    torch.manual_seed(0)
    z = np.load(DATA / "fashion_mnist.npz")
    x = ((z["x_train"][:3600] / 255 - 0.286) / 0.353).astype(np.float32)
    y = z["y_train"][:3600]
    train = ShiftedClothes(x[:3000], y[:3000], augment=True)
    val = ShiftedClothes(x[3000:], y[3000:], augment=False)
    train_loader = DataLoader(train, batch_size=60, shuffle=True, num_workers=2, worker_init_fn=reseed)
    val_loader = DataLoader(val, batch_size=300)
    model = build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(5):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in val_loader)
        print(f"epoch {epoch} loss {loss.item():.3f} val accuracy {right / len(val):.3f}")


if __name__ == "__main__":
    main()
