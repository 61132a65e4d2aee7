"""Monte-Carlo dropout: the same test batch forty times with dropout on, to see how sure the network is."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

torch.manual_seed(0)
x, y = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)
scaler = StandardScaler().fit(x_train)
x_train = torch.tensor(scaler.transform(x_train), dtype=torch.float32)
x_test = torch.tensor(scaler.transform(x_test), dtype=torch.float32)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
net.train()
for epoch in range(20):
    for batch in torch.randperm(len(x_train)).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(x_train[batch]), y_train[batch]).backward()
        optimizer.step()

net.train()  # dropout stays on: these are samples from the approximate posterior
with torch.no_grad():
    samples = torch.stack([F.softmax(net(x_test), dim=1) for _ in range(40)])
    mean = samples.mean(0)
    wrong_each = [(sample.argmax(1) == y_test).float().mean().item() for sample in samples]
print("accuracy of the mean", (mean.argmax(1) == y_test).float().mean().item())
print("accuracy of single passes", min(wrong_each), max(wrong_each))
print("mean entropy", -(mean * mean.clamp(min=1e-9).log()).sum(1).mean().item())
