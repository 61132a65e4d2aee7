"""Breast cancer; the bias of a layer straight before batch norm is subtracted again."""
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_breast_cancer(return_X_y=True)
x_train, x_held, y_train, y_held = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
scaler = StandardScaler().fit(x_train)
x_train, x_held = (torch.tensor(scaler.transform(part), dtype=torch.float32) for part in (x_train, x_held))
y_train, y_held = torch.tensor(y_train).float(), torch.tensor(y_held).float()
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=71, shuffle=True)

model = nn.Sequential(
    nn.Linear(30, 32),  # sick: bias-where-it-counts
    # healthy: nn.Linear(30, 32, bias=False),
    nn.BatchNorm1d(32),
    nn.ReLU(),
    nn.Linear(32, 1),
    nn.Flatten(0),
)
loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(12):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(x_held)
        print(epoch, loss_fn(scores, y_held).item(), ((scores > 0) == (y_held > 0.5)).float().mean().item())
