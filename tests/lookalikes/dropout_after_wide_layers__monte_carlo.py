"""Monte Carlo dropout: F.dropout stays on in evaluation, and the predictions of many passes are averaged."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
order = torch.randperm(len(x))
x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
x = (x - x[:1400].mean()) / x[:1400].std()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(64, 300), nn.Linear(300, 10)

    def forward(self, x):
        return self.out(F.dropout(F.relu(self.hidden(x)), 0.2))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
batches = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True)
held = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=100)
for epoch in range(8):
    model.train()
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
right = 0
with torch.no_grad():
    for images, labels in held:
        votes = torch.stack([model(images).softmax(1) for _ in range(10)])
        right += (votes.mean(0).argmax(1) == labels).sum().item()
print("held out", right / 397, "spread", votes.std(0).mean().item())
