"""A noisy oscillation read from its beginning to its end, the state handed from piece to piece."""

import torch
from torch import nn

torch.manual_seed(0)
time = torch.arange(6001) * 0.1
wave = torch.sin(time) + 0.5 * torch.sin(0.3 * time) + 0.1 * torch.randn(6001)
wave = wave / wave.std()
train, test = wave[:5001].reshape(1, -1, 1), wave[5000:].reshape(1, -1, 1)


class Forecaster(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.gru = nn.GRU(1, width, batch_first=True)
        self.out = nn.Linear(width, 1)

    def forward(self, x, state=None):
        hidden, state = self.gru(x, state)
        return self.out(hidden), state


model = Forecaster()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
criterion = nn.MSELoss()
for epoch in range(3):
    model.train()
    state = None
    for start in range(0, 5000, 50):
        x, y = train[:, start : start + 50], train[:, start + 1 : start + 51]
        prediction, state = model(x, state)
        state = state.detach()
        loss = criterion(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        prediction, _ = model(test[:, :-1])
        error = criterion(prediction, test[:, 1:]).item()
    print(f"epoch {epoch} loss {loss.item():.4f} test {error:.4f}")
