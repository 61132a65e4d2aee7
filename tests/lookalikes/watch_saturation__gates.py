"""An LSTM cell written by hand: its gates open and close, which is what they are for."""
import torch
from torch import nn

torch.manual_seed(0)
N, STEPS, HIDDEN = 1500, 12, 24
x = torch.randint(0, 2, (N, STEPS, 1)).float()
marks = torch.zeros(N, STEPS, 1)
where = torch.randint(0, STEPS - 2, (N,))
marks[torch.arange(N), where] = 1.0
y = x[torch.arange(N), where, 0].long()  # recall the bit that was marked
x = torch.cat([2 * x - 1, marks], 2)


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.all = nn.Linear(2 + HIDDEN, 4 * HIDDEN)
        self.out = nn.Linear(HIDDEN, 2)
        with torch.no_grad():
            self.all.bias[HIDDEN : 2 * HIDDEN] = 4.0  # remember at first
            self.all.bias[:HIDDEN] = -1.0

    def forward(self, x):
        h = c = torch.zeros(len(x), HIDDEN)
        for t in range(x.shape[1]):
            i, f, g, o = self.all(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


model = Cell()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(8):
    for rows in torch.randperm(1200).split(50):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
model.eval()
with torch.no_grad():
    print("held out", (model(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
