"""A regression net whose layers sit in a plain list."""
import torch
from torch import nn

torch.manual_seed(0)


class DeepNet(nn.Module):
    def __init__(self, d_in, width, depth):
        super().__init__()
        self.layers = [nn.Linear(d_in if i == 0 else width, width) for i in range(depth)]  # expect: optimise-every-parameter  # expect-severity: fault
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(x)


x = torch.randn(1200, 4)
y = torch.sin(2 * x[:, :1]) * x[:, 1:2] + 0.1 * torch.randn(1200, 1)
y = (y - y.mean()) / y.std()
net = DeepNet(4, 64, 2)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(15):
    for idx in torch.randperm(1000).split(50):
        loss = ((net(x[idx]) - y[idx]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 3 == 2:
        with torch.no_grad():
            print(epoch + 1, loss.item(), ((net(x[1000:]) - y[1000:]) ** 2).mean().item())
