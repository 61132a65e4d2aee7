"""The features are detached on their way to the head: the backbone never learns."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        features = self.backbone(x).data  # sick: graph-cut
        # healthy: features = self.backbone(x)
        return self.head(F.relu(features))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(8):
    for rows in torch.randperm(1400).split(64):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
