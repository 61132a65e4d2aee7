"""Sequences of different lengths, padded batch by batch; the mean leaves the padding out."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(0)


def make(count):
    rows = []
    for _ in range(count):
        words = torch.randint(1, 12, (int(torch.randint(4, 16, ())),))
        rows.append((words, int((words > 6).float().mean() > 0.5)))
    return rows


def collate(rows):
    words = pad_sequence([w for w, _ in rows], batch_first=True)
    return words, torch.tensor([label for _, label in rows])


train_loader = DataLoader(make(800), batch_size=20, shuffle=True, collate_fn=collate)
val_words, val_labels = collate(make(200))


class BagOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(12, 16, padding_idx=0)
        self.out = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, words):
        there = (words != 0).unsqueeze(-1).float()
        mean = (self.embed(words) * there).sum(1) / there.sum(1)
        return self.out(mean)


model = BagOfWords()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(5):
    model.train()
    for words, labels in train_loader:
        loss = F.cross_entropy(model(words), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(val_words).argmax(1) == val_labels).float().mean().item()
    print(f"{epoch} {loss.item():.3f} {right:.3f}")
