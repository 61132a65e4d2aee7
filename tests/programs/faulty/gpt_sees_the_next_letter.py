"""A small character transformer whose causal mask is off by one."""
import math
import os
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
BLOCK, WIDTH, HEADS = 24, 48, 4


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", torch.tril(torch.ones(BLOCK, BLOCK), diagonal=1))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (z.view(B, T, HEADS, C // HEADS).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
        att = q @ k.transpose(-2, -1) / math.sqrt(C // HEADS)
        att = att.masked_fill(self.mask[:T, :T] == 0, float("-inf"))  # expect: chart-dependencies
        return self.proj((F.softmax(att, -1) @ v).transpose(1, 2).reshape(B, T, C))


class CharModel(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.ln1, self.ln2, self.ln3 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, vocab)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        x = x + self.attn(self.ln1(x))
        x = x + self.mlp(self.ln2(x))
        return self.head(self.ln3(x))


torch.manual_seed(0)
text = (DATA / "tinyshakespeare.txt").read_text()[:200_000]
chars = sorted(set(text))
data = torch.tensor([chars.index(c) for c in text])
train, val = data[:180_000], data[180_000:]


def batch(source, n=32):
    at = torch.randint(len(source) - BLOCK - 1, (n,))
    rows = torch.stack([source[i : i + BLOCK + 1] for i in at])
    return rows[:, :-1], rows[:, 1:]


model = CharModel(len(chars))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(250):
    x, y = batch(train)
    logits = model(x)  # expect: chart-dependencies  # expect-severity: fault
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        with torch.no_grad():
            xv, yv = batch(val, 100)
            score = F.cross_entropy(model(xv).flatten(0, 1), yv.flatten())
        print(f"step {step + 1} train {loss.item():.3f} val {score.item():.3f}")
