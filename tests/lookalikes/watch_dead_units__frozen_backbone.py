"""A frozen feature extractor with silent units, and a new head on top of it."""
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
order = torch.randperm(len(x))
x, y = x[order], y[order]
x = (x - x[:1400].mean()) / x[:1400].std()

backbone = nn.Sequential(nn.Linear(64, 256), nn.ReLU())
with torch.no_grad():
    backbone[0].bias[128:] = -20.0  # as downloaded: half of its units never fire on this data
for parameter in backbone.parameters():
    parameter.requires_grad_(False)
head = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
model = nn.Sequential(backbone, head)

optimizer = torch.optim.Adam(head.parameters(), lr=2e-3)
for epoch in range(8):
    for rows in torch.randperm(1400).split(50):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("held out", (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item())
