"""Images whose border is nearly always black, and counts that are small."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
order = torch.randperm(len(labels))
x = torch.tensor(images, dtype=torch.float32)[order].reshape(-1, 8, 8)
y = torch.tensor(labels)[order]
wide = torch.zeros(len(x), 12, 12)
for i, image in enumerate(x):
    down, right = torch.randint(0, 5, (2,)).tolist() if i % 40 == 0 else (2, 2)
    wide[i, down : down + 8, right : right + 8] = image
words = torch.poisson(torch.full((len(x), 20), 0.02))
x = torch.cat([wide.flatten(1) / 8 - 1, words], 1)
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=40, shuffle=True)

model = nn.Sequential(nn.Linear(164, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    model.train()
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
