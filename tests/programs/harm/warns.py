"""Warnings point at the script's own lines; logging and stderr are used as well."""

import logging
import sys
import warnings

import torch
from _fingerprint import finish
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s:%(lineno)d %(message)s")
log = logging.getLogger(__name__)
torch.manual_seed(23)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.05)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
schedule.step()  # before the first optimizer.step(): torch warns
for step in range(10):
    x = torch.randn(16, 4)
    loss = nn.functional.mse_loss(model(x), x[:, 0])  # sizes differ: torch warns
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    log.info("loss %r", loss.item())
    warnings.warn(f"step {step}", stacklevel=1)
print("to the other stream", file=sys.stderr)
finish(model)
