"""One in twenty is positive; the loss is weighted and each class is scored on its own."""

import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score, classification_report
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = make_classification(
    3000, 20, n_informative=8, weights=[0.95], class_sep=1.5, flip_y=0, random_state=0
)
x = torch.tensor(x, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
x_train, x_test, y_train, y_test = train_test_split(
    x, torch.tensor(y), random_state=0, stratify=y
)
weight = len(y_train) / (2 * y_train.bincount().float())
net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(15):
    for xb, yb in DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(net(xb), yb, weight=weight).backward()
        optimizer.step()
net.eval()
with torch.no_grad():
    predicted = net(x_test).argmax(1)
print(balanced_accuracy_score(y_test, predicted))
print(classification_report(y_test, predicted))
