"""Cosine annealing with warm restarts, stepped every batch."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(8)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8)
images = (images - images.mean()) / images.std()
dataset = TensorDataset(images, torch.tensor(labels))
permutation = torch.randperm(len(dataset)).tolist()
train_set, val_set = Subset(dataset, permutation[:1437]), Subset(dataset, permutation[1437:])
train_dl = DataLoader(train_set, batch_size=48, shuffle=True)
val_dl = DataLoader(val_set, batch_size=120)


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), ResBlock(16), nn.MaxPool2d(2), ResBlock(16),
    nn.Flatten(), nn.Linear(16 * 16, 10),
)
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=2, T_mult=2)
ce = nn.CrossEntropyLoss()

for epoch in range(6):
    net.train()
    for i, (xb, yb) in enumerate(train_dl):
        opt.zero_grad()
        loss = ce(net(xb), yb)
        loss.backward()
        opt.step()
        sched.step(epoch + i / len(train_dl))
    net.eval()
    with torch.no_grad():
        hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in val_dl)
    print(f"epoch {epoch} lr {opt.param_groups[0]['lr']:.4f} val {hits / len(val_set):.4f}")
