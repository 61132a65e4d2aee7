"""PReLU as it should be: slopes in a group of their own without decay."""
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
order = torch.randperm(len(x))
x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
x = (x - x[:1400].mean()) / x[:1400].std()

model = nn.Sequential(nn.Linear(64, 64), nn.PReLU(64), nn.Linear(64, 64), nn.PReLU(64), nn.Linear(64, 10))
slopes = [p for module in model if isinstance(module, nn.PReLU) for p in module.parameters()]
weights = [p for module in model if isinstance(module, nn.Linear) for p in module.parameters()]
optimizer = torch.optim.AdamW(
    [{"params": weights, "weight_decay": 0.01}, {"params": slopes, "weight_decay": 0.0}], lr=1e-3
)
for epoch in range(8):
    for rows in torch.randperm(1400).split(50):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print("held out", (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item())
