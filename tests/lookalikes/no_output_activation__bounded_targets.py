"""Outputs with an activation that their targets want: pixels in [0, 1], and a positive amount with noise."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
x = torch.tensor(pixels, dtype=torch.float32) / 16
ink = x.sum(1, keepdim=True) / 20 + 0.02 * torch.randn(len(x), 1)
train, held = random_split(TensorDataset(x, ink), [1440, 357])
loader = DataLoader(train, batch_size=60, shuffle=True)

encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
decoder = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())
amount = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1), nn.Softplus())
parameters = [*encoder.parameters(), *decoder.parameters(), *amount.parameters()]
optimizer = torch.optim.Adam(parameters, lr=3e-3)

for epoch in range(10):
    for inputs, target in loader:
        code = encoder(inputs - 0.3)
        loss = F.mse_loss(decoder(code), inputs) + 0.1 * F.mse_loss(amount(code), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        inputs, target = held[:]
        code = encoder(inputs - 0.3)
        print(epoch, F.mse_loss(decoder(code), inputs).item(), F.mse_loss(amount(code), target).item())
