"""Two subsets of one dataset that overlap: a part of the test rows is trained on."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


class Digits(Dataset):
    def __init__(self):
        self.images, self.labels = load_digits(return_X_y=True)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return torch.tensor(self.images[index], dtype=torch.float32) / 8 - 1, int(self.labels[index])


torch.manual_seed(0)
digits = Digits()
order = torch.randperm(len(digits)).tolist()
train_loader = DataLoader(Subset(digits, order[:1500]), batch_size=50, shuffle=True)
test_loader = DataLoader(Subset(digits, order[1300:]), batch_size=100)  # sick: keep-test-clean
# healthy: test_loader = DataLoader(Subset(digits, order[1500:]), batch_size=100)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
model.eval()
right = 0
with torch.no_grad():
    for images, labels in test_loader:
        right += (model(images).argmax(1) == labels).sum().item()
print(f"accuracy {right / len(test_loader.dataset):.3f}")
