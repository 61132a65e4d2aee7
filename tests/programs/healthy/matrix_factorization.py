"""Recommender: user and item embeddings with biases, ratings centred on the training mean."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
USERS, ITEMS, RANK = 200, 150, 4
true_u, true_i = torch.randn(USERS, RANK), torch.randn(ITEMS, RANK)
pairs = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS))
pairs = pairs[torch.randperm(len(pairs))[:12000]]
ratings = 3 + (true_u[pairs[:, 0]] * true_i[pairs[:, 1]]).sum(1) / 2 + 0.2 * torch.randn(12000)
train, val = slice(0, 10000), slice(10000, 12000)
mean = ratings[train].mean()


class Factorization(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.user = nn.Embedding(USERS, dim)
        self.item = nn.Embedding(ITEMS, dim)
        self.user_bias = nn.Embedding(USERS, 1)
        self.item_bias = nn.Embedding(ITEMS, 1)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.3)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)

    def forward(self, u, i):
        dot = (self.user(u) * self.item(i)).sum(-1)
        return dot + self.user_bias(u).squeeze(-1) + self.item_bias(i).squeeze(-1)


model = Factorization()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
loader = DataLoader(TensorDataset(pairs[train], ratings[train] - mean), batch_size=200, shuffle=True)
for epoch in range(12):
    model.train()
    for pair, rating in loader:
        loss = nn.functional.mse_loss(model(pair[:, 0], pair[:, 1]), rating)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        guess = model(pairs[val][:, 0], pairs[val][:, 1]) + mean
        rmse = (guess - ratings[val]).pow(2).mean().sqrt()
    print(f"epoch {epoch:2d} val rmse {rmse:.3f} (ratings spread {ratings[val].std():.3f})")
