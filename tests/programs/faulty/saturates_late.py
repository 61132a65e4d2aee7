# a small net for handwritten digits: the rate is far too high for tanh
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(3)
X, y = load_digits(return_X_y=True)
X = (X - X.mean(0)) / (X.std(0) + 1e-6)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0)
Xtr, Xte = torch.tensor(Xtr).float(), torch.tensor(Xte).float()
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(64, 64)
        self.l2 = nn.Linear(64, 32)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.tanh(self.l1(x))  # expect: watch-saturation
        x = torch.tanh(self.l2(x))  # expect: watch-saturation
        return self.out(x)


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=0.5)  # expect: update-ratio
loss_fn = nn.CrossEntropyLoss()
for epoch in range(20):
    perm = torch.randperm(len(Xtr))
    for i in range(0, len(Xtr), 64):
        rows = perm[i : i + 64]
        opt.zero_grad()
        loss = loss_fn(net(Xtr[rows]), ytr[rows])
        loss.backward()
        opt.step()
    with torch.no_grad():
        acc = (net(Xte).argmax(1) == yte).float().mean().item()
    print(epoch, round(loss.item(), 3), round(acc, 3))
