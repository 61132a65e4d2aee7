"""Diabetes progression again; the output is a column, the targets are a row."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
x, y = load_diabetes(return_X_y=True)
order = torch.randperm(len(x)).numpy()
fit, held = order[:350], order[350:]
x = StandardScaler().fit(x[fit]).transform(x)
y = (y - y[fit].mean()) / y[fit].std()
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
loader = DataLoader(TensorDataset(x[fit], y[fit]), batch_size=35, shuffle=True)

model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-3)

for epoch in range(12):
    model.train()
    for inputs, targets in loader:
        predictions = model(inputs)
        loss = ((predictions - targets) ** 2).mean()  # sick: loss-shapes-match
        # healthy: loss = ((predictions.squeeze(1) - targets) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(epoch, F.mse_loss(model(x[held]).squeeze(1), y[held]).item())
