"""Training images in [0, 1], evaluation images as they were stored, 0 to 255."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
stored = torch.tensor(images * 255 / 16).byte()
y = torch.tensor(labels)
order = torch.randperm(len(y))
train, test = order[:1400], order[1400:]

x_train = stored[train].float() / 255
x_test = stored[test].float()  # sick
# healthy: x_test = stored[test].float() / 255
train_loader = DataLoader(TensorDataset(x_train, y[train]), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(x_test, y[test]), batch_size=100)  # sick: no-corrupt-samples
# healthy: test_loader = DataLoader(TensorDataset(x_test, y[test]), batch_size=100)

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
    print(f"epoch {epoch} accuracy {right / len(test):.3f}")
