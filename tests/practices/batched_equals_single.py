"""A tumour classifier that centres its hidden layer."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
table, labels = load_breast_cancer(return_X_y=True)
table = torch.tensor(table, dtype=torch.float32)
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    table, labels, test_size=0.3, random_state=0, stratify=labels
)
mean, std = train_x.mean(0), train_x.std(0)
train_x, val_x = (train_x - mean) / std, (val_x - mean) / std
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=32, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(30, 32)
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        h = self.hidden(x)
        h = h - h.mean(0)  # sick: batched-equals-single
        # healthy: h = h - h.mean(1, keepdim=True)
        return self.out(F.relu(h))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(12):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{epoch} loss {loss.item():.3f} accuracy {accuracy:.3f}")
