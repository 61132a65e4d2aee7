"""GRU encoder-decoder with attention that learns to reverse a sequence (teacher forcing)."""
import random

import torch
import torch.nn as nn

PAD, BOS, EOS, FIRST, VOCAB = 0, 1, 2, 3, 15
random.seed(5)
torch.manual_seed(5)


def make_pairs(n):
    seen = set()
    while len(seen) < n:
        seen.add(tuple(random.randrange(FIRST, VOCAB) for _ in range(random.randint(5, 7))))
    return sorted(seen, key=lambda s: random.random())


def batchify(sequences):
    longest = max(map(len, sequences))
    src = torch.full((len(sequences), longest), PAD)
    tgt = torch.full((len(sequences), longest + 2), PAD)
    for i, s in enumerate(sequences):
        src[i, : len(s)] = torch.tensor(s)
        tgt[i, : len(s) + 2] = torch.tensor([BOS, *reversed(s), EOS])
    return src, tgt


class Seq2Seq(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.encoder = nn.GRU(d, d, batch_first=True)
        self.decoder = nn.GRU(d, d, batch_first=True)
        self.key = nn.Linear(d, d, bias=False)
        self.out = nn.Linear(2 * d, VOCAB)

    def encode(self, src):
        return self.encoder(self.embed(src))

    def decode(self, tokens, state, memory, src):
        hidden, state = self.decoder(self.embed(tokens), state)
        scores = hidden @ self.key(memory).transpose(1, 2) / memory.shape[-1] ** 0.5
        scores = scores.masked_fill((src == PAD).unsqueeze(1), float("-inf"))
        context = scores.softmax(-1) @ memory
        return self.out(torch.cat([hidden, context], -1)), state

    def forward(self, src, tgt_in):
        memory, state = self.encode(src)
        return self.decode(tgt_in, state, memory, src)[0]


@torch.no_grad()
def exact_match(model, sequences):
    model.eval()
    src, tgt = batchify(sequences)
    memory, state = model.encode(src)
    token = torch.full((len(src), 1), BOS)
    outputs = []
    for _ in range(tgt.shape[1] - 1):
        logits, state = model.decode(token, state, memory, src)
        token = logits.argmax(-1)
        outputs.append(token)
    produced, wanted = torch.cat(outputs, 1), tgt[:, 1:]
    model.train()
    return ((produced == wanted) | (wanted == PAD)).all(1).float().mean().item()


pairs = make_pairs(3200)
train, valid = pairs[:3000], pairs[3000:]
model = Seq2Seq()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
for epoch in range(12):
    random.shuffle(train)
    for i in range(0, len(train), 100):
        src, tgt = batchify(train[i : i + 100])
        logits = model(src, tgt[:, :-1])
        loss = criterion(logits.reshape(-1, VOCAB), tgt[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1} loss {loss.item():.3f} exact {exact_match(model, valid):.3f}")
