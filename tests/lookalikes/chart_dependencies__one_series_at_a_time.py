"""A recurrent tagger that reads one series after the other: what looks like a batch is time."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)


def make(length):
    steps = torch.randn(length, 4)
    trend = steps[:, 0].cumsum(0)
    return steps, (trend > 0).long()


series = [make(int(n)) for n in torch.randint(20, 40, (60,))]
held_out = [make(30) for _ in range(20)]


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 24)
        self.out = nn.Linear(24, 2)

    def forward(self, steps):
        states, _ = self.rnn(steps)
        return self.out(states)


model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(6):
    model.train()
    for i in torch.randperm(len(series)).tolist():
        steps, tags = series[i]
        loss = F.cross_entropy(model(steps), tags)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(s).argmax(1) == t for s, t in held_out]).float().mean().item()
    print(f"{epoch} {loss.item():.3f} {right:.3f}")
