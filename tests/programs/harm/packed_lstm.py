"""An LSTM over packed sequences of different lengths, with clipping."""

import torch
from _fingerprint import finish
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(1)
lengths = torch.randint(3, 12, (192,))
words = [torch.randint(1, 20, (int(n),)) for n in lengths]
data = [(w, int((w > 10).sum() * 2 > len(w))) for w in words]


def collate(rows):
    rows.sort(key=lambda row: -len(row[0]))
    sizes = torch.tensor([len(w) for w, _ in rows])
    return pad_sequence([w for w, _ in rows], batch_first=True), sizes, torch.tensor([t for _, t in rows])


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 16, num_layers=2, batch_first=True, dropout=0.1, bidirectional=True)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens, sizes):
        packed = pack_padded_sequence(self.embed(tokens), sizes, batch_first=True)
        _, (hidden, _) = self.lstm(packed)
        return self.head(torch.cat([hidden[-2], hidden[-1]], 1))


model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), 5e-3)
criterion = nn.CrossEntropyLoss()
loader = DataLoader(data, batch_size=24, shuffle=True, collate_fn=collate)
for epoch in range(4):
    total = 0.0
    for tokens, sizes, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(tokens, sizes), target)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    print(epoch, repr(total), repr(norm.item()))
finish(model, optimizer)
