"""A tanh network whose first weights are far too large."""
import torch
from sklearn.datasets import load_wine
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split


class TanhNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(13, 64)
        self.act = nn.Tanh()  # expect: watch-saturation
        self.fc2 = nn.Linear(64, 3)
        nn.init.normal_(self.fc1.weight, std=5.0)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32)
data = TensorDataset((X - X.mean(0)) / X.std(0), torch.tensor(y))
train, val = random_split(data, [130, 48])
net, loss_fn = TanhNet(), nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.02)
loader = DataLoader(train, batch_size=13, shuffle=True)
for epoch in range(20):
    net.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = loss_fn(net(xb), yb)
        loss.backward()
        optimizer.step()
    if epoch % 4 == 3:
        net.eval()
        with torch.no_grad():
            acc = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(val, 48)) / 48
        print(epoch + 1, round(loss.item(), 4), round(acc, 3))
