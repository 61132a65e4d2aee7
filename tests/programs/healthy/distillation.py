"""Knowledge distillation on Fashion-MNIST: a wide teacher in eval mode, a narrow student, soft targets."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
TEMPERATURE, ALPHA = 3.0, 0.7


def make_net(width):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, 10),
    )


def get_loaders():
    z = np.load(DATA / "fashion_mnist.npz")
    x = torch.from_numpy(z["x_train"][:5000]).float() / 255
    x = (x - 0.286) / 0.353
    y = torch.from_numpy(z["y_train"][:5000].astype(np.int64))
    train = DataLoader(TensorDataset(x[:4000], y[:4000]), batch_size=80, shuffle=True)
    return train, DataLoader(TensorDataset(x[4000:], y[4000:]), batch_size=500)


@torch.no_grad()
def accuracy(net, loader):
    net.eval()
    return sum((net(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


def distillation_loss(student_logits, teacher_logits, labels):
    soft = F.kl_div(
        F.log_softmax(student_logits / TEMPERATURE, dim=1),
        F.softmax(teacher_logits / TEMPERATURE, dim=1),
        reduction="batchmean",
    )
    return ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * F.cross_entropy(student_logits, labels)


torch.manual_seed(0)
train_loader, val_loader = get_loaders()

teacher = make_net(256)
optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-3)
for epoch in range(4):
    teacher.train()
    for x, y in train_loader:
        loss = F.cross_entropy(teacher(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"teacher epoch {epoch} val {accuracy(teacher, val_loader):.3f}")

teacher.eval()
student = make_net(24)
optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
for epoch in range(5):
    student.train()
    for x, y in train_loader:
        with torch.no_grad():
            teacher_logits = teacher(x)
        loss = distillation_loss(student(x), teacher_logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"student epoch {epoch} val {accuracy(student, val_loader):.3f}")
