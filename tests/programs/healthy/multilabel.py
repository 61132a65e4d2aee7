"""Multi-label classification: one logit per label, BCE with logits, micro F1."""
import numpy as np
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)
X, Y = make_multilabel_classification(
    n_samples=2400, n_features=20, n_classes=6, n_labels=2, random_state=0
)
X = np.log1p(X) + 0.01 * rng.standard_normal(X.shape)
perm = rng.permutation(len(X))
train, val, test = perm[:1600], perm[1600:2000], perm[2000:]
X = (X - X[train].mean(0)) / X[train].std(0)
X, Y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)


class TagNet(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.hidden = nn.Linear(n_in, 64)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, n_out)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.hidden(x))))


model = TagNet(20, 6)
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.BCEWithLogitsLoss()
loader = DataLoader(TensorDataset(X[train], Y[train]), batch_size=50, shuffle=True)


def micro_f1(idx):
    model.eval()
    with torch.no_grad():
        pred = (model(X[idx]) > 0).int()
    return f1_score(Y[idx].int(), pred, average="micro")


for epoch in range(12):
    model.train()
    losses = []
    for xb, yb in loader:
        loss = criterion(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    print(epoch, f"loss {np.mean(losses):.4f}", f"val F1 {micro_f1(val):.3f}")
print(f"test F1 {micro_f1(test):.3f}")
