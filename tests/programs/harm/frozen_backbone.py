"""A frozen backbone whose norm layers stay in eval mode while the head trains."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(14)
x = torch.randn(120, 3, 8, 8)
y = (x.mean((1, 2, 3)) > 0).long()


class Finetune(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.backbone.requires_grad_(False)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            features = self.backbone(x)
        return self.head(features)


model = Finetune()
optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 5e-3)
for epoch in range(6):
    model.train()
    for pick in torch.randperm(120).split(30):
        loss = F.cross_entropy(model(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    print(epoch, repr(loss.item()))
finish(model, optimizer)
