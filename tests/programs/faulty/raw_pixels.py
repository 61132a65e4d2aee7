"""Fashion-MNIST fed with pixels from 0 to 255."""
# consequence: watch-dead-units
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

here = os.path.dirname(os.path.abspath(__file__))
folder = os.environ.get("NOMAGIC_DATA", os.path.join(here, *[".."] * 4, "shared", "data"))
z = np.load(os.path.join(folder, "fashion_mnist.npz"))
images = torch.tensor(z["x_train"][:3000], dtype=torch.float32).unsqueeze(1)
labels = torch.tensor(z["y_train"][:3000], dtype=torch.long)
torch.manual_seed(0)
train_set, val_set = random_split(TensorDataset(images, labels), [2500, 500])
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
val_loader = DataLoader(val_set, batch_size=250)

net = nn.Sequential(
    nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
    nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(24 * 49, 10),
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(4):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)  # expect: standardise-input
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        correct = sum((net(x).argmax(1) == y).sum().item() for x, y in val_loader)
    print(f"epoch {epoch} loss {loss.item():.3f} val {correct / len(val_set):.3f}")
