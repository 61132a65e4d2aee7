# Plain character RNN, hidden state carried from chunk to chunk, chunks in reading order.
import os
import pathlib

import torch
from torch import nn

root = pathlib.Path(os.environ.get("NOMAGIC_DATA", pathlib.Path(__file__).resolve().parents[4] / "shared" / "data"))
text = (root / "tinyshakespeare.txt").read_text()[:120_000]
vocab = sorted(set(text))
lookup = {c: i for i, c in enumerate(vocab)}
ids = torch.tensor([lookup[c] for c in text])
train_ids, val_ids = ids[:108_000], ids[108_000:]

torch.manual_seed(0)
B, T = 24, 40
embed = nn.Embedding(len(vocab), 32)
rnn = nn.GRU(32, 96, batch_first=True)
readout = nn.Linear(96, len(vocab))
params = list(embed.parameters()) + list(rnn.parameters()) + list(readout.parameters())
opt = torch.optim.Adam(params, lr=5e-3)
loss_fn = nn.CrossEntropyLoss()


def chunks(ids, batch):
    n = (len(ids) - 1) // batch
    x = ids[: n * batch].view(batch, n)
    y = ids[1 : n * batch + 1].view(batch, n)
    for t in range(0, n - T + 1, T):
        yield x[:, t : t + T], y[:, t : t + T]


for epoch in range(3):
    h = None
    for x, y in chunks(train_ids, B):
        out, h = rnn(embed(x), h)
        h = h.detach()
        loss = loss_fn(readout(out).flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 5.0)
        opt.step()
    with torch.no_grad():
        h, losses = None, []
        for x, y in chunks(val_ids, 4):
            out, h = rnn(embed(x), h)
            losses.append(loss_fn(readout(out).flatten(0, 1), y.flatten()).item())
    print(f"epoch {epoch} train {loss.item():.3f} val {sum(losses) / len(losses):.3f}")

# sample a line
with torch.no_grad():
    token, h, line = torch.tensor([[lookup["T"]]]), None, "T"
    for _ in range(60):
        out, h = rnn(embed(token), h)
        token = torch.multinomial(readout(out[:, -1]).softmax(-1), 1)
        line += vocab[token.item()]
print(repr(line))
