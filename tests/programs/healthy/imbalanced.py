"""Rare positives (6 %): weighted loss, balanced accuracy and average precision as metrics."""
import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = make_classification(
    n_samples=6000, n_features=16, n_informative=8, weights=[0.94], class_sep=1.4, flip_y=0.005, random_state=0
)
X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
mean, std = X_tr.mean(0), X_tr.std(0)


def as_tensors(X, y):
    return torch.tensor((X - mean) / std, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


train_loader = DataLoader(TensorDataset(*as_tensors(X_tr, y_tr)), batch_size=100, shuffle=True)
x_val, y_val = as_tensors(X_va, y_va)
pos_weight = torch.tensor((y_tr == 0).sum() / (y_tr == 1).sum(), dtype=torch.float32)
print(f"positives {y_tr.mean():.3f}, weight {pos_weight:.1f}")

model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
for epoch in range(10):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb).squeeze(-1), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        score = model(x_val).squeeze(-1).sigmoid().numpy()
    balanced = balanced_accuracy_score(y_va, score > 0.5)
    precision = average_precision_score(y_va, score)
    print(f"epoch {epoch} balanced accuracy {balanced:.3f} average precision {precision:.3f}")
assert np.isfinite(score).all()
