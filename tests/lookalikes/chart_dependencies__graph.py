"""A graph network: the nodes are the batch, and neighbours are meant to be mixed."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
GROUPS = 3
centres = torch.randn(GROUPS, 12)


def graph(nodes):
    y = torch.randperm(nodes) % GROUPS
    same = (y.unsqueeze(0) == y.unsqueeze(1)).float()
    edges = (torch.rand(nodes, nodes) < 0.01 + 0.09 * same).float()
    edges = ((edges + edges.T + torch.eye(nodes)) > 0).float()
    degree = edges.sum(1)
    adjacency = edges / (degree.unsqueeze(0) * degree.unsqueeze(1)).sqrt()
    return centres[y] + 1.5 * torch.randn(nodes, 12), adjacency, y


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 32)
        self.second = nn.Linear(32, GROUPS)

    def forward(self, x, adjacency):
        h = F.relu(adjacency @ self.first(x))
        return adjacency @ self.second(F.dropout(h, 0.3, self.training))


train_graphs = [graph(60) for _ in range(20)]
val_graphs = [graph(60) for _ in range(5)]
model = GraphNet()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(6):
    model.train()
    for i in torch.randperm(len(train_graphs)).tolist():
        x, adjacency, y = train_graphs[i]
        loss = F.cross_entropy(model(x, adjacency), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(x, a).argmax(1) == y for x, a, y in val_graphs])
    print(f"{epoch} {loss.item():.3f} {right.float().mean().item():.3f}")
