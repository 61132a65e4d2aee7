"""bfloat16 autocast with a gradient scaler on the CPU, unscaling before the clip."""

import torch
import torch.nn.functional as F
from _fingerprint import finish
from torch import nn

torch.manual_seed(7)
x = torch.randn(256, 16)
y = (x[:, :4].sum(1) > 0).long()
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(inplace=True), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=20)
for epoch in range(5):
    for i, pick in enumerate(torch.randperm(256).split(32)):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x[pick])
            loss = F.cross_entropy(out, y[pick])
        if epoch == 2 and i == 3:
            loss = loss * float("inf")  # the scaler has to skip this step
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
    print(epoch, out.dtype, repr(loss.item()), repr(norm.item()), scaler.get_scale())
finish(model, optimizer)
