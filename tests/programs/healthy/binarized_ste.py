"""Binary activations with a straight-through estimator (custom autograd.Function)."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(0)


class BinarizeSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x.abs() <= 1)


class BinaryNet(nn.Module):
    def __init__(self, d_in, d_hidden, d_out):
        super().__init__()
        self.l1 = nn.Linear(d_in, d_hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(d_hidden)
        self.l2 = nn.Linear(d_hidden, d_hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(d_hidden)
        self.l3 = nn.Linear(d_hidden, d_out)

    def forward(self, x):
        x = BinarizeSTE.apply(self.bn1(self.l1(x)))
        x = BinarizeSTE.apply(self.bn2(self.l2(x)))
        return self.l3(x)


X, y = load_digits(return_X_y=True)
X = (X - 4.88) / 6.0
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=400, random_state=0, stratify=y)
X_train, X_val = (torch.tensor(a, dtype=torch.float32) for a in (X_train, X_val))
y_train, y_val = torch.tensor(y_train), torch.tensor(y_val)

net = BinaryNet(64, 128, 10)
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(12):
    net.train()
    shuffled = torch.randperm(len(X_train))
    for i in range(0, len(shuffled), 64):
        idx = shuffled[i : i + 64]
        loss = loss_fn(net(X_train[idx]), y_train[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(X_val).argmax(1) == y_val).float().mean().item()
    print(f"{epoch:2d} loss {loss.item():.3f} val acc {acc:.3f}")
