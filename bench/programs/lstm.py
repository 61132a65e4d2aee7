"""An LSTM that reads Shakespeare and guesses the next letter; gradients are clipped."""

import torch
import torch.nn.functional as F
from stopwatch import DATA, Stopwatch, steps
from torch import nn

n_steps = steps(700)
torch.manual_seed(0)
text = (DATA / "tinyshakespeare.txt").read_text()[:300_000]
letters = sorted(set(text))
number = {letter: i for i, letter in enumerate(letters)}
data = torch.tensor([number[letter] for letter in text])


class Reader(nn.Module):
    def __init__(self, letters, width=64):
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.lstm = nn.LSTM(width, 2 * width, num_layers=1, batch_first=True)
        self.head = nn.Linear(2 * width, letters)

    def forward(self, x):
        hidden, _ = self.lstm(self.embedding(x))
        return self.head(hidden)


def batch(size=16, length=32):
    starts = torch.randint(len(data) - length - 1, (size,))
    rows = torch.stack([data[i : i + length + 1] for i in starts])
    return rows[:, :-1], rows[:, 1:]


model = Reader(len(letters))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

with Stopwatch():
    for _ in range(n_steps):
        xb, yb = batch()
        logits = model(xb)
        loss = F.cross_entropy(logits.flatten(0, 1), yb.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
print(f"loss {loss.item():.4f}")
