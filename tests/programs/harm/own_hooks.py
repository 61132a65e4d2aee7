"""The script's own hooks: forward, full backward, tensor, optimizer; and a parametrised weight."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn
from torch.nn.utils import parametrizations

torch.manual_seed(25)
seen = []
model = nn.Sequential(
    parametrizations.weight_norm(nn.Linear(6, 16)),
    nn.ReLU(),
    parametrizations.spectral_norm(nn.Linear(16, 16)),
    nn.ReLU(),
    nn.Linear(16, 2),
)
model[1].register_forward_hook(lambda m, args, out: seen.append(("forward", out.mean().item())))
model[4].register_full_backward_hook(lambda m, gi, go: seen.append(("back", go[0].norm().item())))
model[4].bias.register_hook(lambda g: g * 0.5)
model[4].weight.register_post_accumulate_grad_hook(lambda p: seen.append(("sum", p.grad.norm().item())))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
optimizer.register_step_post_hook(lambda *args: seen.append(("step", len(seen))))
x = torch.randn(96, 6)
y = (x[:, 0] * x[:, 1] > 0).long()
for epoch in range(4):
    for pick in torch.randperm(96).split(16):
        hidden = model[:3](x[pick])
        hidden.retain_grad()
        loss = F.cross_entropy(model[3:](hidden), y[pick])
        optimizer.zero_grad()
        with torch.autograd.set_detect_anomaly(epoch == 1):
            loss.backward()
        optimizer.step()
    print(epoch, repr(loss.item()), repr(hidden.grad.norm().item()), len(seen), seen[-1])
print([name for name, _ in seen[:8]], repr(sum(value for _, value in seen)))
finish(model, optimizer)
