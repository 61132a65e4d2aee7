"""A student learns from a teacher that is in no optimizer any more and through which gradients may flow."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, digits = load_digits(return_X_y=True)
images = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
train_x, test_x, train_y, test_y = train_test_split(
    images, torch.tensor(digits), test_size=0.3, random_state=0, stratify=digits
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)


def train(net, loss_of, rate, epochs):
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss_of(x, y).backward()
            optimizer.step()


teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
train(teacher, lambda x, y: F.cross_entropy(teacher(x), y), 2e-3, 5)

model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
train(model, lambda x, y: F.cross_entropy(model(x), y) + F.mse_loss(model(x), teacher(x)), 3e-3, 5)

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x).argmax(1) == test_y).float().mean().item())
