"""A causal transformer encoder; the evaluation in eval mode takes the fused fast path."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(2)
V, T, D = 12, 10, 16
stream = torch.randint(0, V, (300, T + 1))
stream[:, 1::2] = (stream[:, 0::2][:, : stream[:, 1::2].shape[1]] + 1) % V


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, D)
        self.place = nn.Parameter(0.02 * torch.randn(T, D))
        layer = nn.TransformerEncoderLayer(D, 2, 32, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(D, V)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(T))

    def forward(self, tokens):
        hidden = self.embed(tokens) + self.place
        return self.head(self.body(hidden, mask=self.mask, is_causal=True))


model = Decoder()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
train, held = stream[:240], stream[240:]
for epoch in range(3):
    model.train()
    for batch in train[torch.randperm(240)].split(24):
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), batch[:, 1:])
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        score = F.cross_entropy(model(held[:, :-1]).flatten(0, 1), held[:, 1:].flatten())
    print(epoch, repr(loss.item()), repr(score.item()))

start = held[:1, :1]
with torch.no_grad():
    for _ in range(T - 1):
        padded = F.pad(start, (0, T - start.shape[1]))
        probs = model(padded)[:, start.shape[1] - 1].softmax(-1)
        start = torch.cat([start, torch.multinomial(probs, 1)], 1)
print(start.tolist())
finish(model, optimizer)
