"""Wine cultivars; the last layer begins with weights so large that the fresh network is sure of itself."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
x, y = load_wine(return_X_y=True)
x_train, x_held, y_train, y_held = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
mean, std = x_train.mean(0), x_train.std(0)
x_train, x_held = (torch.tensor((part - mean) / std, dtype=torch.float32) for part in (x_train, x_held))
y_train, y_held = torch.tensor(y_train), torch.tensor(y_held)

model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
nn.init.normal_(model[2].weight, std=8.0)  # sick
# healthy: nn.init.normal_(model[2].weight, std=0.1)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(60):
    model.train()
    for batch in torch.randperm(len(x_train)).split(31):
        loss = F.cross_entropy(model(x_train[batch]), y_train[batch])  # sick: loss-at-init
        # healthy: loss = F.cross_entropy(model(x_train[batch]), y_train[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_held).argmax(1) == y_held).float().mean()
    if epoch % 10 == 9:
        print(epoch, loss.item(), accuracy.item())
