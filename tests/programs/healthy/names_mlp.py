# Character-level names with a hand-written MLP: no nn.Module, no optimizer.
import os
import random
from pathlib import Path

import torch
import torch.nn.functional as F

folder = os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
words = sorted(set((Path(folder) / "names.txt").read_text().split()))
random.seed(42)
random.shuffle(words)

chars = sorted(set("".join(words)))
stoi = {s: i + 1 for i, s in enumerate(chars)}
stoi["."] = 0
itos = {i: s for s, i in stoi.items()}
block_size = 3  # how many characters are used to predict the next one


def build_dataset(words):
    X, Y = [], []
    for w in words:
        context = [0] * block_size
        for ch in w + ".":
            ix = stoi[ch]
            X.append(context)
            Y.append(ix)
            context = context[1:] + [ix]
    return torch.tensor(X), torch.tensor(Y)


n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
Xtr, Ytr = build_dataset(words[:n1])
Xdev, Ydev = build_dataset(words[n1:n2])
Xte, Yte = build_dataset(words[n2:])

g = torch.Generator().manual_seed(2147483647)
n_embd, n_hidden = 10, 100
C = torch.randn((27, n_embd), generator=g)
W1 = torch.randn((n_embd * block_size, n_hidden), generator=g) * (5 / 3) / (n_embd * block_size) ** 0.5
b1 = torch.randn(n_hidden, generator=g) * 0.01
W2 = torch.randn((n_hidden, 27), generator=g) * 0.01
b2 = torch.zeros(27)
parameters = [C, W1, b1, W2, b2]
for p in parameters:
    p.requires_grad = True
print(sum(p.nelement() for p in parameters), "parameters")


def logits_of(X):
    emb = C[X]
    h = torch.tanh(emb.view(emb.shape[0], -1) @ W1 + b1)
    return h @ W2 + b2


@torch.no_grad()
def split_loss(name):
    x, y = {"train": (Xtr, Ytr), "val": (Xdev, Ydev), "test": (Xte, Yte)}[name]
    print(name, round(F.cross_entropy(logits_of(x), y).item(), 4))


max_steps, batch_size = 2500, 64
for i in range(max_steps):
    # minibatch
    ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)
    # forward pass
    loss = F.cross_entropy(logits_of(Xtr[ix]), Ytr[ix])
    # backward pass
    for p in parameters:
        p.grad = None
    loss.backward()
    # update
    lr = 0.2 if i < 1500 else 0.02
    for p in parameters:
        p.data += -lr * p.grad
    if i % 500 == 0:
        print(f"{i:7d}/{max_steps:7d}: {loss.item():.4f}")

split_loss("train")
split_loss("val")
split_loss("test")

for _ in range(5):
    out, context = [], [0] * block_size
    while True:
        with torch.no_grad():
            probs = F.softmax(logits_of(torch.tensor([context])), dim=1)
        ix = torch.multinomial(probs, num_samples=1, generator=g).item()
        context = context[1:] + [ix]
        if ix == 0:
            break
        out.append(itos[ix])
    print("".join(out))
