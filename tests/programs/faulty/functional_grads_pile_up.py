# two-layer net on the moons, by hand
import torch
import torch.nn.functional as F
from sklearn.datasets import make_moons

torch.manual_seed(0)
X, y = make_moons(600, noise=0.15, random_state=1)
X = torch.tensor(X, dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
y = torch.tensor(y)

W1 = (torch.randn(2, 32) * (2 / 2) ** 0.5).requires_grad_()
b1 = torch.zeros(32, requires_grad=True)
W2 = (torch.randn(32, 2) * (1 / 32) ** 0.5).requires_grad_()
b2 = torch.zeros(2, requires_grad=True)
params = [W1, b1, W2, b2]

for step in range(200):
    ix = torch.randint(0, 480, (32,))
    logits = torch.relu(X[ix] @ W1 + b1) @ W2 + b2
    loss = F.cross_entropy(logits, y[ix])
    loss.backward()  # expect: zero-grad  # expect-severity: fault
    with torch.no_grad():
        for p in params:
            p -= 0.05 * p.grad
    if step % 40 == 0:
        print(step, loss.item())

with torch.no_grad():
    pred = (torch.relu(X[480:] @ W1 + b1) @ W2 + b2).argmax(1)
print("accuracy", (pred == y[480:]).float().mean().item())
