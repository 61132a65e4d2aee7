"""Learning rates over the steps of a training."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

WARM = 0.05
"""The share of the steps over which the rate rises, and"""
DECAY = 0.5
"""at the end, over which it falls to zero."""


def trapezoid(
    optimizer: Optimizer, steps: int, warm: float = WARM, decay: float = DECAY
) -> LRScheduler:
    """A linear rise, the full rate, and a linear fall to zero (Zhai et al. 2022, section 3.5)."""

    def factor(step: int) -> float:
        rise = (step + 1) / max(1.0, warm * steps)
        fall = (steps - step) / max(1.0, decay * steps)
        return max(0.0, min(1.0, rise, fall))

    return LambdaLR(optimizer, factor)
