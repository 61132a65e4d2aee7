"""Input and output embedding share one tensor; the hidden state is carried from chunk to chunk."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(15)
text = "the quick brown fox jumps over the lazy dog. " * 40
alphabet = sorted(set(text))
ids = torch.tensor([alphabet.index(c) for c in text])
ids = ids[: len(ids) // 8 * 8].reshape(8, -1)


class Model(nn.Module):
    def __init__(self, n, d=24):
        super().__init__()
        self.embed = nn.Embedding(n, d)
        self.gru = nn.GRU(d, d, batch_first=True)
        self.out = nn.Linear(d, n)
        self.out.weight = self.embed.weight

    def forward(self, tokens, state=None):
        hidden, state = self.gru(self.embed(tokens), state)
        return self.out(hidden), state


model = Model(len(alphabet))
optimizer = torch.optim.Adam(model.parameters(), 5e-3)
for epoch in range(4):
    state = None
    for start in range(0, ids.shape[1] - 16, 16):
        chunk = ids[:, start : start + 17]
        logits, state = model(chunk[:, :-1], state)
        state = state.detach()
        loss = F.cross_entropy(logits.reshape(-1, len(alphabet)), chunk[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        optimizer.step()
    print(epoch, repr(loss.item()))
assert model.out.weight is model.embed.weight
finish(model, optimizer, state)
