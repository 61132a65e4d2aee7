"""Semi-supervised node classification with a dense-adjacency GCN on a stochastic block model."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.default_rng(0)
torch.manual_seed(0)
N, K = 240, 3
labels = rng.integers(0, K, N)
same = labels[:, None] == labels[None, :]
edges = np.triu(rng.random((N, N)) < np.where(same, 0.10, 0.01), 1)
A = torch.tensor(edges | edges.T, dtype=torch.float32) + torch.eye(N)
degree = A.sum(1).rsqrt()
A_hat = degree[:, None] * A * degree[None, :]
features = torch.tensor(rng.standard_normal((N, 12)), dtype=torch.float32)
features[torch.arange(N), torch.tensor(labels)] += 1.0
y = torch.tensor(labels)

order = torch.tensor(rng.permutation(N))
train_mask, val_mask, test_mask = order[:60], order[60:120], order[120:]


class GCN(nn.Module):
    def __init__(self, d_in, d_hidden, d_out):
        super().__init__()
        self.w1 = nn.Linear(d_in, d_hidden)
        self.w2 = nn.Linear(d_hidden, d_out)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x, adj):
        h = F.relu(adj @ self.w1(x))
        return adj @ self.w2(self.dropout(h))


model = GCN(12, 32, K)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)


def accuracy(mask):
    model.eval()
    with torch.no_grad():
        pred = model(features, A_hat).argmax(1)
    return (pred[mask] == y[mask]).float().mean().item()


for epoch in range(120):
    model.train()
    out = model(features, A_hat)
    loss = F.cross_entropy(out[train_mask], y[train_mask])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 20 == 19:
        print(f"epoch {epoch + 1} loss {loss.item():.3f} val {accuracy(val_mask):.3f}")
print(f"test {accuracy(test_mask):.3f}")
