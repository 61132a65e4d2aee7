"""Uncertainty by Monte Carlo dropout: dropout stays on while predicting, on purpose."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(2)
x = torch.cat([torch.rand(300, 1) * 2 - 3, torch.rand(300, 1) * 2 + 1])
y = torch.sin(2 * x) + 0.1 * torch.randn_like(x)
scale = x.std()
x = x / scale
order = torch.randperm(len(x))
train, val = order[:500], order[500:]


class Net(nn.Module):
    def __init__(self, p=0.1):
        super().__init__()
        self.fc1 = nn.Linear(1, 128)
        self.fc2 = nn.Linear(128, 128)
        self.out = nn.Linear(128, 1)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        x = self.drop(F.relu(self.fc1(x)))
        x = self.drop(F.relu(self.fc2(x)))
        return self.out(x)


def mc_predict(model, x, samples=50):
    model.eval()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    with torch.no_grad():
        draws = torch.stack([model(x) for _ in range(samples)])
    model.eval()
    return draws.mean(0), draws.std(0)


model = Net()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(40):
    model.train()
    for idx in train[torch.randperm(len(train))].split(50):
        loss = F.mse_loss(model(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 8 == 7:
        model.eval()
        with torch.no_grad():
            print(epoch + 1, f"val mse {F.mse_loss(model(x[val]), y[val]):.4f}")

mean, std = mc_predict(model, x[val])
print(f"rmse of the mean {(mean - y[val]).pow(2).mean().sqrt():.3f}")
_, gap = mc_predict(model, torch.linspace(-0.5, 0.5, 20).unsqueeze(1) / scale)
_, far = mc_predict(model, torch.linspace(5, 6, 20).unsqueeze(1) / scale)
print(f"spread: on the data {std.mean():.3f}, in the gap {gap.mean():.3f}, far away {far.mean():.3f}")
