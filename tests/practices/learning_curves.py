"""Few samples, noisy labels, a wide net and many epochs: it learns them by heart."""

import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
features, labels = make_classification(
    1600, 30, n_informative=5, n_classes=3, flip_y=0.3, class_sep=1.5, random_state=1
)
features = torch.tensor(features, dtype=torch.float32)
features = (features - features.mean(0)) / features.std(0)
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(features, labels, test_size=0.5, random_state=0)

epochs = 60  # sick
# healthy: epochs = 5
model = nn.Sequential(nn.Linear(30, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(epochs):
    model.train()
    for picked in torch.randperm(len(train_x)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(model(train_x[picked]), train_y[picked]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(val_x)  # sick: learning-curves
        # healthy: scores = model(val_x)
        print(epoch, F.cross_entropy(scores, val_y).item(), (scores.argmax(1) == val_y).float().mean().item())
