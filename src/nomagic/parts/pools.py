"""Pooling that skips every second pixel without aliasing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class AntiAliasedMaxPool2d(nn.Module):
    """The largest of each 2 x 2 neighbours, blurred, of which every second is kept (Zhang 2019).

    Maps (n, channels, height, width) become half as high and wide, rounded up with ``ceil_mode``,
    else down. The blur is the 3 x 3 binomial filter, as two means of 2 x 2 after one another; at
    the borders pixels are repeated.
    """

    def __init__(self, ceil_mode: bool = True) -> None:
        super().__init__()
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """Pool a batch of maps."""
        largest = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        blurred = F.avg_pool2d(F.pad(largest, (1, 1, 1, 1), mode="replicate"), 2, stride=1)
        kept = F.avg_pool2d(blurred, 2, stride=2)
        if self.ceil_mode:
            return kept
        return kept[..., : x.shape[-2] // 2, : x.shape[-1] // 2]

    def extra_repr(self) -> str:
        """The settings, as printed."""
        return f"ceil_mode={self.ceil_mode}"
