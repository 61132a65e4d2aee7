"""Strong dropout, label smoothing and weight decay: the training loss stays high on purpose."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32) * 2 - 1
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)
train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
model = nn.Sequential(
    nn.Dropout(0.2), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.5)
criterion = nn.CrossEntropyLoss(label_smoothing=0.2)
for epoch in range(12):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss = loss + 1e-3 * sum((p**2).sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(val_x).argmax(1) == val_y).float().mean().item()
    print(f"{epoch} {loss.item():.3f} {right:.3f}")
