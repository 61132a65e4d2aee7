"""Digits with a first rate that kills most of the hidden units."""
# consequence: overfit-one-batch
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.relu1 = nn.ReLU()  # expect: watch-dead-units
        self.fc2 = nn.Linear(128, 128)
        self.relu2 = nn.ReLU()  # expect: watch-dead-units
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc3(self.relu2(self.fc2(self.relu1(self.fc1(x)))))


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
loader = DataLoader(train, batch_size=50, shuffle=True)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
for epoch in range(8):
    model.train()
    for xb, yb in loader:
        loss = F.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(val, 400)) / len(val)
    print(epoch, round(loss.item(), 4), round(acc, 3))
