"""A letter model written by hand: no module, no optimizer, no loader."""

import torch
import torch.nn.functional as F
from stopwatch import DATA, Stopwatch, steps

n_steps = steps(40_000)
g = torch.Generator().manual_seed(2147483647)
words = sorted(set((DATA / "names.txt").read_text().split()))
letters = ".abcdefghijklmnopqrstuvwxyz"
BLOCK = 3

rows, nexts = [], []
for word in words:
    context = [0] * BLOCK
    for letter in word + ".":
        rows.append(context)
        nexts.append(letters.index(letter))
        context = [*context[1:], nexts[-1]]
X, Y = torch.tensor(rows), torch.tensor(nexts)

C = torch.randn((27, 10), generator=g)
W1 = torch.randn((10 * BLOCK, 200), generator=g) * (5 / 3) / (10 * BLOCK) ** 0.5
b1 = torch.randn(200, generator=g) * 0.01
W2 = torch.randn((200, 27), generator=g) * 0.01
b2 = torch.zeros(27)
parameters = [C, W1, b1, W2, b2]
for p in parameters:
    p.requires_grad = True

with Stopwatch():
    for _ in range(n_steps):
        index = torch.randint(0, len(X), (64,), generator=g)
        hidden = torch.tanh(C[X[index]].flatten(1) @ W1 + b1)
        loss = F.cross_entropy(hidden @ W2 + b2, Y[index])
        for p in parameters:
            p.grad = None
        loss.backward()
        for p in parameters:
            p.data += -0.1 * p.grad
print(f"loss {loss.item():.4f}")
