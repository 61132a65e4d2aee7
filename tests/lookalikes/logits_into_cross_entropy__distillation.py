"""A student learns from a teacher's softened answers: soft targets are right, and so is log-softmax twice.

The model's own probabilities are only computed to be shown.
"""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels))
train, held = random_split(data, [1440, 357])
loader = DataLoader(train, batch_size=60, shuffle=True)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x):
        scores = self.body(x)
        return scores.log_softmax(dim=1) if self.training else scores.softmax(dim=1)


def accuracy(net):
    net.eval()
    with torch.no_grad():
        x, y = held[:]
        probabilities = net(x)
    net.train()
    return (probabilities.argmax(1) == y).float().mean().item(), probabilities.max().item()


teacher = Net(128)
optimizer = torch.optim.Adam(teacher.parameters(), lr=2e-3)
for _ in range(8):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(teacher(x), y).backward()  # log-softmax of log-softmax: the same
        optimizer.step()
print("teacher", accuracy(teacher))

student = Net(24)
optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
teacher.eval()
for _ in range(10):
    for x, y in loader:
        with torch.no_grad():
            soft = F.softmax(teacher.body(x) / 2, dim=1)
        optimizer.zero_grad()
        logits = student.body(x)
        loss = F.cross_entropy(logits / 2, soft) * 4 + F.nll_loss(torch.log(logits.softmax(1) + 1e-8), y)
        loss.backward()
        optimizer.step()
print("student", accuracy(student))
