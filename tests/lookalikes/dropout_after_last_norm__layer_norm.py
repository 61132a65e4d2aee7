"""A transformer: dropout everywhere, and layer norms behind it, which do not care."""
import torch
from torch import nn

torch.manual_seed(0)
N, STEPS = 1500, 8
x = torch.randint(0, 10, (N, STEPS))
y = (x[:, 0] > x[:, -1]).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.place = nn.Parameter(0.1 * torch.randn(STEPS, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, 2)

    def forward(self, x):
        return self.out(self.layers(self.embed(x) + self.place).mean(1))


model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(1200).split(50):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
model.eval()
with torch.no_grad():
    print("held out", (model(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
