"""Which half of a sequence is larger? An LSTM that wants (time, batch, features) gets a view of (batch, time, features)."""
# consequence: reshape-is-not-permute, overfit-one-batch
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T = 12


class SequenceClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 32)
        self.fc = nn.Linear(32, 2)

    def forward(self, x):
        x = x.view(T, x.shape[0], 2)  # expect: chart-dependencies
        out, _ = self.lstm(x)
        return self.fc(out[-1])


def data(n):
    x = torch.randn(n, T, 2)
    y = (x[:, :6, 0].sum(1) > x[:, 6:, 0].sum(1)).long()
    return TensorDataset(x, y)


torch.manual_seed(0)
train_loader = DataLoader(data(1600), batch_size=40, shuffle=True)
val_loader = DataLoader(data(400), batch_size=100)
model = SequenceClassifier()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        output = model(x)  # expect: chart-dependencies  # expect-severity: fault
        loss = criterion(output, y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        acc = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader) / 400
    print(f"epoch {epoch} loss {loss.item():.3f} val {acc:.3f}")
