"""Digits with batch norm and two images a batch."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def conv(n_in, n_out):
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),  # expect: same-in-training-and-inference
        nn.ReLU(),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(1, 16), conv(16, 32), nn.MaxPool2d(2), conv(32, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
train_loader = DataLoader(train, batch_size=2, shuffle=True)
val_loader = DataLoader(val, batch_size=200)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(2):
    model.train()
    total = 0.0
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)  # expect: same-in-training-and-inference
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    right, val_loss = 0, 0.0
    with torch.no_grad():
        for images, labels in val_loader:
            out = model(images)
            val_loss += criterion(out, labels).item() * len(labels) / len(val)
            right += (out.argmax(1) == labels).sum().item()
    print(f"epoch {epoch} train {total / len(train_loader):.3f} val {val_loss:.3f} acc {right / len(val):.3f}")
