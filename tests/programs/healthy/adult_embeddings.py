"""Income prediction from census data: embeddings for the categories, log and z-score for the numbers."""
import csv
import gzip
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
NUMERIC = ["age", "fnlwgt", "education_num", "hours_per_week"]
SPARSE = ["capital_gain", "capital_loss"]  # mostly zero: indicator columns
N_TRAIN, N_VAL = 8000, 2000


def read(path, limit):
    with gzip.open(path, "rt") as f:
        rows = csv.DictReader(f)
        return [row for row, _ in zip(rows, range(limit))]


def main():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    rows = read(DATA / "adult_train.csv.gz", N_TRAIN + N_VAL)
    columns = list(rows[0])
    target = columns[-1]
    names = {c.replace("-", "_"): c for c in columns}
    numeric = np.array([[float(r[names[c]]) for c in NUMERIC] for r in rows])
    numeric[:, 1] = np.log(numeric[:, 1])
    flags = np.array([[float(r[names[c]]) > 0 for c in SPARSE] for r in rows])
    categorical = [c for c in columns[:-1] if c.replace("-", "_") not in NUMERIC + SPARSE]
    tables = [{v: i for i, v in enumerate(sorted({r[c] for r in rows}))} for c in categorical]
    codes = np.array([[t[r[c]] for c, t in zip(categorical, tables)] for r in rows])
    y = np.array([r[target].startswith(">50K") for r in rows], dtype=np.float32)

    order = rng.permutation(len(rows))
    tr, va = order[:N_TRAIN], order[N_TRAIN:]
    numeric = (numeric - numeric[tr].mean(0)) / numeric[tr].std(0)

    def dataset(idx):
        dense = np.concatenate([numeric[idx], flags[idx]], axis=1).astype(np.float32)
        return TensorDataset(torch.from_numpy(dense), torch.from_numpy(codes[idx]), torch.from_numpy(y[idx]))

    class TabularNet(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [(len(t), min(12, (len(t) + 1) // 2)) for t in tables]
            self.embeddings = nn.ModuleList([nn.Embedding(n, d) for n, d in sizes])
            width = sum(d for _, d in sizes) + len(NUMERIC) + len(SPARSE)
            self.mlp = nn.Sequential(
                nn.Linear(width, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
            )

        def forward(self, dense, codes):
            parts = [emb(codes[:, i]) for i, emb in enumerate(self.embeddings)]
            return self.mlp(torch.cat([dense, *parts], dim=1)).squeeze(1)

    model = TabularNet()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    train_loader = DataLoader(dataset(tr), batch_size=128, shuffle=True)
    val_loader = DataLoader(dataset(va), batch_size=500)
    for epoch in range(4):
        model.train()
        for dense, code, label in train_loader:
            loss = criterion(model(dense, code), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(d, c) for d, c, _ in val_loader])
        auc = roc_auc_score(y[va], logits.numpy())
        acc = ((logits.numpy() > 0) == y[va]).mean()
        print(f"epoch {epoch}: val auc {auc:.4f} accuracy {acc:.4f}")


if __name__ == "__main__":
    main()
