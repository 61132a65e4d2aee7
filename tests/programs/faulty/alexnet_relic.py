"""Small AlexNet-like network with local response normalisation, ReLU before the pooling."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1)
data = TensorDataset((x - x.mean()) / x.std(), torch.tensor(digits.target))
train, val = random_split(data, [1400, len(data) - 1400])
train_loader, val_loader = DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=200)
features = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),  # expect: relu-after-maxpool
    nn.MaxPool2d(2),
    nn.LocalResponseNorm(5),  # expect: no-lrn
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
)
model = nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val_loader)
    print(f"epoch {epoch} loss {loss.item():.3f} val {right / len(val):.3f}")
