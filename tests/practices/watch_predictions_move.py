"""A digit classifier on whole batches, whose learning rate is far too high to settle."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(1)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 8.0 - 1.0, dtype=torch.float32)
labels = torch.tensor(labels)
train_x, val_x, train_y, val_y = train_test_split(
    images, labels, test_size=0.3, random_state=0, stratify=labels
)

model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=8.0)  # sick
# healthy: optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

for epoch in range(32):
    model.train()
    loss = F.cross_entropy(model(train_x), train_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(val_x)  # sick: watch-predictions-move
        # healthy: scores = model(val_x)
        accuracy = (scores.argmax(1) == val_y).float().mean()
    print(f"epoch {epoch}: accuracy {accuracy:.3f}")
