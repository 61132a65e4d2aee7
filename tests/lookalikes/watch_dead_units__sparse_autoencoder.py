"""A penalty keeps the ReLU code of an autoencoder sparse: most units of it fall silent, as they should."""
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.tensor(load_digits().data, dtype=torch.float32)
x = x[torch.randperm(len(x))]
x = (x - x[:1400].mean()) / x[:1400].std()
loader = DataLoader(TensorDataset(x[:1400]), batch_size=50, shuffle=True)

encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
decoder = nn.Linear(128, 64)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
for epoch in range(15):
    for (batch,) in loader:
        code = encoder(batch)
        loss = nn.functional.mse_loss(decoder(code), batch) + 0.5 * code.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    code = encoder(x[1400:])
    error = nn.functional.mse_loss(decoder(code), x[1400:]).item()
print(f"held-out error {error:.3f}, silent units {(code == 0).all(0).float().mean():.0%}")
