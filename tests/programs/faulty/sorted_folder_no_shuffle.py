"""MNIST in the order in which an image folder lists it: class by class."""
# consequence: watch-dead-units
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class ImageFolder(Dataset):
    def __init__(self, first, last):
        z = np.load(DATA / "mnist.npz")
        images, labels = z["x_train"][first:last], z["y_train"][first:last]
        by_class = np.argsort(labels, kind="stable")
        self.images = (images[by_class] / 255 - 0.1307) / 0.3081
        self.labels = labels[by_class].astype(int)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.tensor(self.images[i], dtype=torch.float32).unsqueeze(0), self.labels[i]


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(ImageFolder(0, 3000), batch_size=20)  # expect: shuffle-every-epoch  # expect-severity: fault
    val_loader = DataLoader(ImageFolder(3000, 3600), batch_size=200)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 49, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(3):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in val_loader)
        print(f"epoch {epoch} last loss {loss.item():.5f} val {right / 600:.3f}")


if __name__ == "__main__":
    main()
