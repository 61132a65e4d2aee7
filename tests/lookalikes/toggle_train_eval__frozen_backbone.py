"""Only a new head is trained; the backbone stays frozen and in evaluation mode, dropout and batch norm included."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x / 8 - 1, dtype=torch.float32)
x_train, x_val, y_train, y_val = train_test_split(x, torch.tensor(y), random_state=0, stratify=y)


class Classifier(nn.Module):
    """A backbone that can be frozen, and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(64, 96, bias=False), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Linear(96, 10)

    def forward(self, x):
        return self.head(self.backbone(x))


def fit(model, parameters, targets, epochs, prepare):
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    for _ in range(epochs):
        prepare()
        for batch in torch.randperm(len(x_train)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x_train[batch]), targets[batch]).backward()
            optimizer.step()


model = Classifier()
fit(model, model.parameters(), y_train, 6, model.train)

for parameter in model.backbone.parameters():
    parameter.requires_grad_(False)
model.head.reset_parameters()


def head_only():
    model.train()
    model.backbone.eval()


fit(model, model.head.parameters(), y_train, 6, head_only)
model.eval()
with torch.no_grad():
    print((model(x_val).argmax(1) == y_val).float().mean().item())
