"""Digits; the loss lives in a helper."""
# consequence: overfit-one-batch, no-output-activation
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.hidden = nn.Linear(64, 64)
        self.out = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.hidden(x))
        return F.softmax(self.out(x), dim=1)  # expect: logits-into-cross-entropy


def compute_loss(model, batch):
    inputs, targets = batch
    outputs = model(inputs)
    return F.cross_entropy(outputs, targets)  # expect: logits-into-cross-entropy  # expect-severity: fault


def main():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32)
    dataset = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
    train, val = random_split(dataset, [1400, len(dataset) - 1400])
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = compute_loss(model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(val, 200))
        print(f"epoch {epoch} loss {total / len(loader):.4f} val {right / len(val):.3f}")


main()
