"""F.dropout drops in every mode unless it is told otherwise: the held-out score is noise."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32)
y = torch.tensor(y)
order = torch.randperm(len(x))
train, held = order[:1400], order[1400:]
mean, std = x[train].mean(), x[train].std()
x = (x - mean) / std


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 300)
        self.out = nn.Linear(300, 10)

    def forward(self, x):
        x = F.relu(self.hidden(x))
        x = F.dropout(x, 0.3)  # sick: dropout-after-wide-layers
        # healthy: x = F.dropout(x, 0.3, training=self.training)
        return self.out(x)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
batches = DataLoader(TensorDataset(x[train], y[train]), batch_size=64, shuffle=True)
test = DataLoader(TensorDataset(x[held], y[held]), batch_size=200)
for epoch in range(6):
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in test:
            right += (model(images).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, held out {right / len(held):.3f}")
