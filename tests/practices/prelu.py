"""AdamW decays the slopes of PReLU along with the weights."""
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32)
y = torch.tensor(y)
order = torch.randperm(len(x))
train, held = order[:1400], order[1400:]
mean, std = x[train].mean(), x[train].std()
x = (x - mean) / std

model = nn.Sequential(
    nn.Linear(64, 64),
    nn.PReLU(init=0.1),  # sick: prelu
    # healthy: nn.PReLU(init=0.1),
    nn.Linear(64, 10),
)
slopes = [model[1].weight]
others = [*model[0].parameters(), *model[2].parameters()]
groups = [{"params": others + slopes}]  # sick
# healthy: groups = [{"params": others}, {"params": slopes, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=2e-3, weight_decay=0.05)
criterion = nn.CrossEntropyLoss()
for epoch in range(8):
    model.train()
    for rows in train[torch.randperm(len(train))].split(64):
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(x[held]).argmax(1) == y[held]).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, held out {right:.3f}")
