"""Each batch is standardised with its own statistics, also when a single patient is scored."""
# consequence: chart-dependencies
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(30, 32)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        x = (x - x.mean(0)) / (x.std(0, unbiased=False) + 1e-6)  # expect: batched-equals-single
        return self.fc2(torch.relu(self.fc1(x))).squeeze(1)


def fit(model, loader, optimizer, criterion):
    model.train()
    for x, y in loader:
        output = model(x)  # expect: batched-equals-single
        loss = criterion(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32).log1p()
X = (X - X.mean(0)) / X.std(0)
data = TensorDataset(X, torch.tensor(y, dtype=torch.float32))
train, val = random_split(data, [450, len(data) - 450])
loader = DataLoader(train, batch_size=30, shuffle=True)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(10):
    loss = fit(model, loader, optimizer, nn.BCEWithLogitsLoss())
    model.eval()
    with torch.no_grad():
        big = sum(((model(a) > 0) == b.bool()).sum().item() for a, b in DataLoader(val, 119)) / len(val)
    print(f"epoch {epoch} loss {loss:.4f} accuracy {big:.3f}")
