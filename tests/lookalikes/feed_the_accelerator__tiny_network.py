"""A network so small that its loader takes most of each step, and nobody needs to care."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels))
train, test = random_split(data, [1400, len(data) - 1400])
train_loader = DataLoader(train, batch_size=200, shuffle=True)
test_loader = DataLoader(test, batch_size=200)
model = nn.Linear(64, 10)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
criterion = nn.CrossEntropyLoss()
for epoch in range(20):
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
with torch.no_grad():
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
print(f"accuracy {right / len(test):.3f}")
