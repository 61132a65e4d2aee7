"""Digits with a Trainer class."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Trainer:
    def __init__(self, model, train_set, val_set):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
        self.val_loader = DataLoader(val_set, batch_size=128)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(self, x, y):
        loss = self.criterion(self.model(x), y)
        loss.backward()  # expect: zero-grad  # expect-severity: fault
        self.optimizer.step()
        return loss.item()

    def train_epoch(self):
        self.model.train()
        self.optimizer.zero_grad()
        losses = [self.step(x, y) for x, y in self.train_loader]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        hits = [(self.model(x).argmax(1) == y).sum().item() for x, y in self.val_loader]
        return sum(hits) / len(self.val_loader.dataset)

    def run(self, epochs):
        for epoch in range(epochs):
            print(epoch, round(self.train_epoch(), 4), round(self.validate(), 4))


torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
Trainer(model, *random_split(data, [1400, len(data) - 1400])).run(6)
