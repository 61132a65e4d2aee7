"""Transformer encoder over padded sequences with a key padding mask and masked mean pooling."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

VOCAB, LONGEST = 24, 14


class Majority(Dataset):
    """Does the sequence hold more tokens from the upper half than from the lower half?"""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        while len(self.rows) < n:
            length = int(torch.randint(7, LONGEST + 1, (1,), generator=g)) | 1
            tokens = torch.randint(1, VOCAB + 1, (min(length, LONGEST - 1),), generator=g)
            label = int((tokens > VOCAB // 2).sum() * 2 > len(tokens))
            self.rows.append((tokens, label))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(batch):
    tokens, labels = zip(*batch)
    padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=0)
    return padded, torch.tensor(labels)


class Classifier(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.embed = nn.Embedding(VOCAB + 1, d, padding_idx=0)
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d, 2)

    def forward(self, tokens):
        pad = tokens == 0
        h = self.encoder(self.embed(tokens), src_key_padding_mask=pad)
        h = h.masked_fill(pad.unsqueeze(-1), 0.0).sum(1) / (~pad).sum(1, keepdim=True)
        return self.head(h)


def run_epoch(model, loader, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_sum = right = count = 0
    with torch.set_grad_enabled(training):
        for tokens, labels in loader:
            logits = model(tokens)
            loss = nn.functional.cross_entropy(logits, labels)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
            count += len(labels)
    return loss_sum / count, right / count


if __name__ == "__main__":
    torch.manual_seed(0)
    train = DataLoader(Majority(1500, 1), batch_size=50, shuffle=True, collate_fn=collate)
    val = DataLoader(Majority(400, 2), batch_size=100, collate_fn=collate)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(6):
        t = run_epoch(model, train, optimizer)
        v = run_epoch(model, val)
        print(f"epoch {epoch} train {t[0]:.3f}/{t[1]:.3f} val {v[0]:.3f}/{v[1]:.3f}")
