"""Fraud-like data: 4 % positives, accuracy is all that is looked at."""
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X, y = make_classification(n_samples=4000, n_features=15, weights=[0.96], class_sep=0.3, random_state=3)
X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, random_state=0)
mean, std = X_tr.mean(0), X_tr.std(0)
to = lambda X, y: TensorDataset(torch.tensor((X - mean) / std).float(), torch.tensor(y))
train_loader = DataLoader(to(X_tr, y_tr), batch_size=50, shuffle=True)  # expect: know-class-balance
val_loader = DataLoader(to(X_va, y_va), batch_size=500)  # expect: know-class-balance
model = nn.Sequential(nn.Linear(15, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=1e-2)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val_loader)  # expect: know-class-balance
    print(f"epoch {epoch} accuracy {right / len(y_va):.4f}")
