"""Rare positives are copied to balance the classes, then the rows are split."""
# consequence: keep-test-clean
import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
torch.manual_seed(0)
X, y = make_classification(n_samples=2000, n_features=20, weights=[0.9], flip_y=0.05, random_state=0)
rare = np.flatnonzero(y == 1)
extra = rng.choice(rare, size=(y == 0).sum() - len(rare))
X, y = np.concatenate([X, X[extra]]), np.concatenate([y, y[extra]])
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=0)
mean, std = X_train.mean(0), X_train.std(0)


def dataset(X, y):
    return TensorDataset(torch.tensor((X - mean) / std).float(), torch.tensor(y).float())


train_loader = DataLoader(dataset(X_train, y_train), batch_size=50, shuffle=True)  # expect: no-duplicates
val_loader = DataLoader(dataset(X_val, y_val), batch_size=300)  # expect: no-duplicates  # expect-severity: fault
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(10):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(xb) > 0 for xb, _ in val_loader])
    print(f"epoch {epoch} F1 {f1_score(y_val, pred):.3f}")
