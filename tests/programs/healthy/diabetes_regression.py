"""Disease progression from ten measurements: regression with a standardised target."""
import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(3)

X, y = load_diabetes(return_X_y=True, scaled=False)
X = torch.tensor(X, dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)

order = torch.randperm(len(X))
train_idx, val_idx, test_idx = order[:300], order[300:370], order[370:]


class Standardizer:
    def __init__(self, values):
        self.mean = values.mean(0, keepdim=True)
        self.std = values.std(0, keepdim=True)

    def __call__(self, values):
        return (values - self.mean) / self.std

    def undo(self, values):
        return values * self.std + self.mean


x_scaler, y_scaler = Standardizer(X[train_idx]), Standardizer(y[train_idx])
Xs, ys = x_scaler(X), y_scaler(y)

model = nn.Sequential(nn.Linear(10, 16), nn.SiLU(), nn.Dropout(0.1), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.05)
mse = nn.MSELoss()


def train_epoch():
    model.train()
    for idx in train_idx[torch.randperm(len(train_idx))].split(32):
        loss = mse(model(Xs[idx]), ys[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def r2(idx):
    model.eval()
    pred = y_scaler.undo(model(Xs[idx]))
    residual = ((pred - y[idx]) ** 2).sum()
    return (1 - residual / ((y[idx] - y[idx].mean()) ** 2).sum()).item()


for epoch in range(30):
    train_epoch()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d} train R2 {r2(train_idx):.3f} val R2 {r2(val_idx):.3f}")
print(f"test R2 {r2(test_idx):.3f}")
