"""Cross-validation with one network that is reset for each fold, scored on its training rows as well."""

import copy

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels))
model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
fresh = copy.deepcopy(model.state_dict())
criterion = nn.CrossEntropyLoss()


def score(loader):
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float() for x, y in loader]
    model.train()
    return torch.cat(hits).mean().item()


for fold, (train, held) in enumerate(KFold(4, shuffle=True, random_state=0).split(images)):
    model.load_state_dict(fresh)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train_loader = DataLoader(Subset(data, train), batch_size=50, shuffle=True)
    held_loader = DataLoader(Subset(data, held), batch_size=200)
    for epoch in range(4):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
    print(f"fold {fold} training {score(train_loader):.3f} held out {score(held_loader):.3f}")
