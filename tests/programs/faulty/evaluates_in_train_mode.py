"""Digits, convolutional, evaluation in a helper."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def get_data():
    digits = load_digits()
    x_tr, x_va, y_tr, y_va = train_test_split(digits.images, digits.target, test_size=0.2, random_state=0)
    mean, std = x_tr.mean(), x_tr.std()

    def make(x, y):
        return TensorDataset(torch.tensor((x - mean) / std).float().unsqueeze(1), torch.tensor(y))

    return make(x_tr, y_tr), make(x_va, y_va)


def compute_accuracy(net, loader):
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            outputs = net(images)  # expect: toggle-train-eval  # expect-severity: fault
            correct += (outputs.argmax(1) == labels).sum().item()
    return correct / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train_set, val_set = get_data()
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=30)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} val accuracy {compute_accuracy(net, val_loader):.4f}")


main()
