"""A frozen random projection, a spare output that is not used yet, and an optimizer for the rest."""

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


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 128)
        self.project.requires_grad_(False)
        self.trunk = nn.Linear(128, 64)
        self.out = nn.Linear(64, 10)
        self.spare = nn.Linear(64, 3)

    def forward(self, x):
        x = F.relu(self.trunk(F.relu(self.project(x))))
        return self.out(x), self.spare(x)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(8):
    for x, y in train_loader:
        optimizer.zero_grad()
        digit, _ = model(x)
        F.cross_entropy(digit, y).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    print("accuracy", (model(test_x)[0].argmax(1) == test_y).float().mean().item())
