"""Two overlapping clouds and a logistic regression: no line separates eight of the points."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
labels = torch.randint(0, 2, (600,))
points = torch.randn(600, 2) + 0.9 * labels.unsqueeze(1)
points = (points - points.mean(0)) / points.std(0)
train_x, val_x, train_y, val_y = points[:400], points[400:], labels[:400], labels[400:]

model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
for epoch in range(15):
    for pick in torch.randperm(400).split(40):
        loss = F.binary_cross_entropy_with_logits(
            model(train_x[pick]).squeeze(1), train_y[pick].float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = ((model(val_x).squeeze(1) > 0) == val_y.bool()).float().mean().item()
    print(f"{epoch} {loss.item():.3f} {right:.3f}")
