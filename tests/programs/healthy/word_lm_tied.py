"""Word language model with tied input and output embeddings; text in parallel streams (BPTT)."""
import os
import re
from collections import Counter
from pathlib import Path

import torch
import torch.nn as nn

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


class Corpus:
    def __init__(self, path, n_chars, vocab=600):
        words = re.findall(r"[a-z']+|[.,;:?!]", path.read_text()[:n_chars].lower())
        keep = [w for w, _ in Counter(words).most_common(vocab - 1)]
        self.index = {w: i + 1 for i, w in enumerate(keep)}
        ids = torch.tensor([self.index.get(w, 0) for w in words])
        cut = int(0.9 * len(ids))
        self.train, self.valid = ids[:cut], ids[cut:]
        self.size = len(keep) + 1


def batchify(ids, columns):
    rows = len(ids) // columns
    return ids[: rows * columns].view(columns, rows).t().contiguous()


class RNNModel(nn.Module):
    def __init__(self, ntoken, d=64, dropout=0.2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, d)
        self.rnn = nn.LSTM(d, d)
        self.decoder = nn.Linear(d, ntoken)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.decoder.weight = self.encoder.weight

    def forward(self, x, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(x)), hidden)
        return self.decoder(self.drop(output)), hidden


def repackage(hidden):
    return tuple(h.detach() for h in hidden) if hidden else None


def evaluate(model, source, bptt):
    model.eval()
    total, hidden = 0.0, None
    with torch.no_grad():
        for i in range(0, len(source) - 1, bptt):
            n = min(bptt, len(source) - 1 - i)
            output, hidden = model(source[i : i + n], hidden)
            total += n * criterion(output.flatten(0, 1), source[i + 1 : i + 1 + n].flatten()).item()
    return total / (len(source) - 1)


torch.manual_seed(0)
corpus = Corpus(DATA / "tinyshakespeare.txt", 250_000)
train_data, val_data = batchify(corpus.train, 20), batchify(corpus.valid, 10)
model = RNNModel(corpus.size)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
bptt = 30
for epoch in range(3):
    model.train()
    hidden = None
    for i in range(0, len(train_data) - 1, bptt):
        n = min(bptt, len(train_data) - 1 - i)
        data, targets = train_data[i : i + n], train_data[i + 1 : i + 1 + n]
        hidden = repackage(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output.view(-1, corpus.size), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    val = evaluate(model, val_data, bptt)
    print(f"epoch {epoch} loss {loss.item():.3f} val loss {val:.3f} perplexity {2.718281828**val:.1f}")
