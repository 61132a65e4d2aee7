"""One trunk, two heads: a class and a standardised number, losses added with weights."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(6)
n = 2000
x = torch.randn(n, 8)
kind = (x[:, 0] + x[:, 1] * x[:, 2] > 0.3).long() + (x[:, 3] > 0.8).long()
amount = 20 + 5 * (x[:, 4] * x[:, 0] + x[:, 5]) + torch.randn(n)
train_idx, val_idx = torch.randperm(n).split([1600, 400])
shift, scale = amount[train_idx].mean(), amount[train_idx].std()
dataset = TensorDataset(x[train_idx], kind[train_idx], (amount[train_idx] - shift) / scale)
loader = DataLoader(dataset, batch_size=64, shuffle=True)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.kind = nn.Linear(64, 3)
        self.amount = nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"kind": self.kind(h), "amount": self.amount(h).squeeze(-1)}


def loss_of(out, kind, amount):
    return F.cross_entropy(out["kind"], kind) + 0.5 * F.mse_loss(out["amount"], amount)


model = TwoHeads()
opt = torch.optim.Adam(
    [
        {"params": model.trunk.parameters(), "lr": 2e-3},
        {"params": [*model.kind.parameters(), *model.amount.parameters()], "lr": 1e-3},
    ]
)
for epoch in range(14):
    model.train()
    for xb, kb, ab in loader:
        opt.zero_grad()
        loss_of(model(xb), kb, ab).backward()
        opt.step()
    if epoch % 2:
        model.eval()
        with torch.no_grad():
            out = model(x[val_idx])
        acc = (out["kind"].argmax(1) == kind[val_idx]).float().mean()
        mae = (out["amount"] * scale + shift - amount[val_idx]).abs().mean()
        print(f"epoch {epoch + 1} kind accuracy {acc:.3f} amount error {mae:.2f}")
