"""Tables of differences on purpose: quantiles against a column, an energy score, weights for every output."""
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
order = torch.randperm(len(x)).numpy()
fit, held = order[:350], order[350:]
x, y = (x - x[fit].mean(0)) / x[fit].std(0), (y - y[fit].mean()) / y[fit].std()
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
loader = DataLoader(TensorDataset(x[fit], y[fit]), batch_size=50, shuffle=True)

levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-3)


def pinball(guess, target):
    error = target - guess  # (N, 1) against (N, 5)
    return torch.maximum(levels * error, (levels - 1) * error)


def energy(guess, target):
    """How well a set of guesses tells a distribution: to the target, less among themselves."""
    near = (guess - target).abs().mean()
    apart = (guess.unsqueeze(2) - guess.unsqueeze(1)).abs().mean()
    return near - apart / 2


def same_mean(guess, target):
    """Distances of every guess in the batch to every target."""
    middle = guess.mean(1)
    return (middle[:, None] - target.T).abs().mean() - (middle[:, None] - middle).abs().mean() / 2


for epoch in range(15):
    model.train()
    for inputs, targets in loader:
        guess = model(inputs)
        weight = 1 / (1 + targets.abs())  # (N, 1): one for each sample
        loss = (weight * pinball(guess, targets)).mean()
        loss = loss + 0.1 * energy(guess, targets) + 0.1 * same_mean(guess, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(epoch, pinball(model(x[held]), y[held]).mean().item())
