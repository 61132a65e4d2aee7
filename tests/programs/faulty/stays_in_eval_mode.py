"""Wine classification; validation after every epoch."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
mean, std = X_train.mean(0), X_train.std(0)
X_train, X_val = (torch.tensor((a - mean) / std, dtype=torch.float32) for a in (X_train, X_val))
y_train, y_val = torch.tensor(y_train), torch.tensor(y_val)
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=16, shuffle=True)

model = nn.Sequential(nn.Linear(13, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 3))
opt = torch.optim.Adam(model.parameters(), lr=3e-3)


def validate():
    model.eval()
    with torch.no_grad():
        out = model(X_val)
    return F.cross_entropy(out, y_val).item(), (out.argmax(1) == y_val).float().mean().item()


model.train()
for epoch in range(12):
    for xb, yb in loader:
        out = model(xb)  # expect: toggle-train-eval
        loss = F.cross_entropy(out, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, *(round(v, 4) for v in validate()))
