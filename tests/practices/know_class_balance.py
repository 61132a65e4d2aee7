"""A rare disease among many healthy patients, and only accuracy is looked at."""

import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
share = 0.95  # sick
# healthy: share = 0.6
features, ill = make_classification(
    3000, 20, n_informative=6, weights=[share], class_sep=0.6, flip_y=0.01, random_state=3
)
features = torch.tensor(features, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
ill = torch.tensor(ill)
train_x, test_x, train_y, test_y = train_test_split(
    features, ill, test_size=0.3, random_state=0, stratify=ill
)

loader = DataLoader(TensorDataset(train_x, train_y), batch_size=128, shuffle=True)  # sick: know-class-balance
# healthy: loader = DataLoader(TensorDataset(train_x, train_y), batch_size=128, shuffle=True)
model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(8):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    predicted = model(test_x).argmax(dim=1)
print("accuracy", (predicted == test_y).float().mean().item())
