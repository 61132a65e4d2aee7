"""Fashion-MNIST: a validation set that is a slice of the training set."""
# consequence: no-duplicates
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def get_loaders():
    z = np.load(DATA / "fashion_mnist.npz")
    x = (torch.from_numpy(z["x_train"][:3000]).float() / 255 - 0.286) / 0.353
    dataset = TensorDataset(x, torch.from_numpy(z["y_train"][:3000]).long())
    indices = torch.randperm(3000).tolist()
    val = Subset(dataset, indices[2400:])
    train_loader = DataLoader(dataset, batch_size=60, shuffle=True)
    val_loader = DataLoader(val, batch_size=200)  # expect: keep-test-clean  # expect-severity: fault
    return train_loader, val_loader


torch.manual_seed(0)
train_loader, val_loader = get_loaders()
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(6):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in val_loader:
            output = model(x)  # expect: keep-test-clean
            right += (output.argmax(1) == y).sum().item()
    print(f"epoch {epoch} val accuracy {right / 600:.3f}")
