"""A rare class repeated in the training set, on purpose and after the split."""

import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = make_classification(2000, 40, n_informative=10, weights=[0.85], class_sep=1.5, flip_y=0, random_state=0)
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
mean, std = x_train.mean(0), x_train.std(0)
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

rare = torch.where(y_train == 1)[0]
rows = torch.cat([torch.arange(len(y_train)), rare.repeat(3)])
loader = DataLoader(TensorDataset(x_train[rows], y_train[rows]), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        predicted = model(x_test).argmax(1)
    recall = [(predicted[y_test == c] == c).float().mean().item() for c in (0, 1)]
    print(f"epoch {epoch} recall {recall[0]:.3f} {recall[1]:.3f}")
