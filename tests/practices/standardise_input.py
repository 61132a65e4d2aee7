"""Thirty measurements of tumours, from hundredths to thousands, straight into a network."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
features, benign = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    torch.tensor(features, dtype=torch.float32), torch.tensor(benign), test_size=0.3, random_state=0
)
# healthy: mean, std = x_train.mean(0), x_train.std(0)
# healthy: x_train, x_test = (x_train - mean) / std, (x_test - mean) / std
# healthy: x_train, x_test = x_train.clamp(-4, 4), x_test.clamp(-4, 4)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(15):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        output = model(x)  # sick: standardise-input
        # healthy: output = model(x)
        loss = criterion(output, y)
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
print(f"accuracy {accuracy:.3f}")
