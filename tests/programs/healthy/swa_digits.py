"""Stochastic weight averaging with a cyclic tail and refreshed batch-norm statistics."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(5)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
y = torch.tensor(digits.target)
x = (x - x.mean()) / x.std()
train, val, test = random_split(TensorDataset(x, y), [1200, 297, 300])
loader = DataLoader(train, batch_size=60, shuffle=True)
val_loader, test_loader = DataLoader(val, batch_size=300), DataLoader(test, batch_size=300)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
)
averaged = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
swa_schedule = SWALR(optimizer, swa_lr=0.03, anneal_epochs=2)
loss_fn = nn.CrossEntropyLoss()
EPOCHS, SWA_START = 14, 8


def score(net, data):
    net.eval()
    hits = n = 0
    with torch.no_grad():
        for xb, yb in data:
            hits += (net(xb).argmax(1) == yb).sum().item()
            n += len(yb)
    net.train()
    return hits / n


for epoch in range(EPOCHS):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(xb), yb)
        loss.backward()
        optimizer.step()
    if epoch >= SWA_START:
        averaged.update_parameters(model)
        swa_schedule.step()
    else:
        cosine.step()
    print(f"epoch {epoch} val {score(model, val_loader):.3f} lr {optimizer.param_groups[0]['lr']:.3f}")

update_bn(loader, averaged)
print(f"averaged: val {score(averaged, val_loader):.3f} test {score(averaged, test_loader):.3f}")
