# next letter of a name from the three letters before, unscaled output weights
import os
import random
from pathlib import Path

import torch
import torch.nn.functional as F

folder = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
words = sorted(set((folder / "names.txt").read_text().split()))
random.seed(1)
random.shuffle(words)
stoi = {c: i for i, c in enumerate("." + "abcdefghijklmnopqrstuvwxyz")}


def windows(words):
    xs, ys = [], []
    for w in words:
        padded = [0, 0, 0, *(stoi[c] for c in w), 0]
        for i in range(len(padded) - 3):
            xs.append(padded[i : i + 3])
            ys.append(padded[i + 3])
    return torch.tensor(xs), torch.tensor(ys)


Xtr, Ytr = windows(words[:20000])
Xva, Yva = windows(words[20000:22000])
g = torch.Generator().manual_seed(5)
C = torch.randn(27, 8, generator=g, requires_grad=True)
W1 = (torch.randn(24, 100, generator=g) / 24**0.5).requires_grad_()
b1 = torch.zeros(100, requires_grad=True)
W2 = torch.randn(100, 27, generator=g, requires_grad=True)
b2 = torch.randn(27, generator=g, requires_grad=True)
params = [C, W1, b1, W2, b2]


def forward(X):
    return torch.tanh(C[X].flatten(1) @ W1 + b1) @ W2 + b2


for step in range(1500):
    ix = torch.randint(0, len(Xtr), (64,), generator=g)
    loss = F.cross_entropy(forward(Xtr[ix]), Ytr[ix])  # expect: loss-at-init
    for p in params:
        p.grad = None
    loss.backward()  # expect: loss-at-init
    for p in params:
        p.data -= 0.1 * p.grad
    if step % 300 == 0:
        print(step, loss.item())
with torch.no_grad():
    print("val", F.cross_entropy(forward(Xva), Yva).item())
