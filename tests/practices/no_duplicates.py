"""Digits from two exports of the same source, joined before the split: some images are there twice."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images, dtype=torch.float32) / 8 - 1
y = torch.tensor(labels)
again = torch.randperm(len(x))[:250]
x, y = torch.cat([x, x[again]]), torch.cat([y, y[again]])  # sick
# healthy: assert len(x.unique(dim=0)) == len(x)
held = 400
train_set, test_set = random_split(TensorDataset(x, y), [len(x) - held, held])

train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=200)  # sick: no-duplicates
# healthy: test_loader = DataLoader(test_set, batch_size=200)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            right += (model(xb).argmax(1) == yb).sum().item()
    print(f"epoch {epoch} accuracy {right / held:.3f}")
