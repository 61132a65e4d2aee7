"""Digits read row by row by a GRU; the states of all rows go into the output."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 8, 8) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)


class RowReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 32)
        self.out = nn.Linear(8 * 32, 10)

    def forward(self, x):
        states, _ = self.rnn(x.transpose(0, 1))
        flat = states.reshape(len(x), -1)  # sick: chart-dependencies
        # healthy: flat = states.transpose(0, 1).flatten(1)
        return self.out(flat)


model = RowReader()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(10):
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
