"""A small letter model whose head is its embedding: no bias, on purpose, and frequencies far from equal."""
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
words = "the cat sat on the mat and the dog ate the rat that sat on the hat of the man in the van ".split()
generator = torch.Generator().manual_seed(0)
picked = torch.randint(len(words), (3000,), generator=generator).tolist()
text = " ".join(words[i] for i in picked)
letters = sorted(set(text))
codes = torch.tensor([letters.index(c) for c in text])
train, held = codes[:9000], codes[9000:]


class Letters(nn.Module):
    def __init__(self, size, width=32):
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.rnn(self.embedding(x))[0])


def windows(part, n, length=24):
    starts = torch.randint(len(part) - length - 1, (n,))
    rows = torch.stack([part[s : s + length + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


model = Letters(len(letters))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(120):
    model.train()
    x, y = windows(train, 32)
    loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 40 == 39:
        model.eval()
        with torch.no_grad():
            x, y = windows(held, 64)
            print(step, F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item())
