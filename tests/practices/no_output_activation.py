"""Diabetes progression, standardised; a ReLU behind the last layer cannot give what lies below the mean."""
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
order = torch.randperm(len(x)).numpy()
fit, held = order[:350], order[350:]
scale_x, scale_y = StandardScaler().fit(x[fit]), StandardScaler().fit(y[fit, None])
x = torch.tensor(scale_x.transform(x), dtype=torch.float32)
y = torch.tensor(scale_y.transform(y[:, None]), dtype=torch.float32)
loader = DataLoader(TensorDataset(x[fit], y[fit]), batch_size=35, shuffle=True)

model = nn.Sequential(
    nn.Linear(10, 24),
    nn.ReLU(),
    nn.Linear(24, 1),
    nn.ReLU(),  # sick: no-output-activation
)
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-3)

for epoch in range(12):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(epoch, loss_fn(model(x[held]), y[held]).item())
