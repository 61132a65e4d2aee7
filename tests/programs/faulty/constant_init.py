"""Digits with a careful, constant initialisation."""
# consequence: overfit-one-batch
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 100)  # expect: break-symmetry  # expect-severity: fault
        self.fc2 = nn.Linear(100, 10)  # expect: break-symmetry
        self.reset_parameters()

    def reset_parameters(self):
        for layer in (self.fc1, self.fc2):
            nn.init.constant_(layer.weight, 0.01)  # expect: break-symmetry
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
x = (x - x.mean()) / x.std()
y = torch.tensor(digits.target)
order = torch.randperm(len(x))
train, val = order[:1400], order[1400:]
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(10):
    for idx in train[torch.randperm(1400)].split(50):
        loss = F.cross_entropy(model(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = (model(x[val]).argmax(1) == y[val]).float().mean()
    print(epoch, round(loss.item(), 4), round(acc.item(), 3))
