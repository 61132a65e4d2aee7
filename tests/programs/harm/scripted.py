"""A scripted network trained through fx, functional dropout and tensor subclasses."""

import warnings

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(27)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 24), nn.Linear(24, 3)

    def forward(self, x):
        return self.b(F.dropout(F.relu(self.a(x)), 0.1, self.training))


class Tagged(torch.Tensor):
    pass


model = torch.jit.script(Net())
traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.Softplus()))
optimizer = torch.optim.NAdam([*model.parameters(), *traced.parameters()], 5e-3)
for epoch in range(4):
    for _ in range(10):
        x = torch.randn(32, 6).as_subclass(Tagged)
        y = x[:, :3].argmax(1)
        loss = F.cross_entropy(traced(model(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, repr(loss.item()), type(loss).__name__)
model.eval()
finish(model, traced, optimizer)
