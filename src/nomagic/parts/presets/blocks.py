"""What the convolutional networks are made of, in one dimension and in two."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

Norm = Literal["batch", "group", "none"]
Dims = Literal[1, 2]

CONV: dict[Dims, type[nn.Conv1d | nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}
BATCH: dict[Dims, type[nn.BatchNorm1d | nn.BatchNorm2d]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
MEAN: dict[Dims, type[nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d]] = {
    1: nn.AdaptiveAvgPool1d,
    2: nn.AdaptiveAvgPool2d,
}
SMALL = 8
"""The shortest side of maps that are still halved."""


def conv(
    channels: int,
    width: int,
    size: int,
    norm: Norm,
    dims: Dims = 2,
    groups: int = 1,
    stride: int = 1,
) -> nn.Sequential:
    """A convolution of the same resolution, or a ``stride``th of it, the norm and ReLU."""
    return nn.Sequential(*linear(channels, width, size, norm, dims, groups, stride), nn.ReLU())


def linear(
    channels: int,
    width: int,
    size: int,
    norm: Norm,
    dims: Dims,
    groups: int = 1,
    stride: int = 1,
) -> list[nn.Module]:
    """The convolution and the norm alone."""
    given: dict[str, Any] = {"stride": stride, "padding": size // 2, "groups": groups}
    kernel = CONV[dims](channels, width, size, bias=norm == "none", **given)
    if norm == "batch":
        return [kernel, BATCH[dims](width)]
    return [kernel, nn.GroupNorm(math.gcd(8, width), width)] if norm == "group" else [kernel]


class Residual(nn.Module):
    """Two convolutions whose result is added to their input, then ReLU (He et al. 2016).

    With ``zero`` the scale of the last norm starts at zero, so that the block starts as the
    identity (Goyal et al. 2017).
    """

    def __init__(self, width: int, size: int, norm: Norm, dims: Dims, zero: bool) -> None:
        super().__init__()
        last = linear(width, width, size, norm, dims)
        scale = last[-1].weight
        if zero and norm != "none" and isinstance(scale, Tensor):
            nn.init.zeros_(scale)
        self.body = nn.Sequential(conv(width, width, size, norm, dims), *last)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, width, …) to the same."""
        return torch.relu(x + self.body(x))


def head(width: int, outputs: int, dims: Dims, dropout: float = 0.0) -> list[nn.Module]:
    """The mean over all places and a linear layer."""
    drop = [nn.Dropout(dropout)] if dropout else []
    return [MEAN[dims](1), nn.Flatten(), *drop, nn.Linear(width, outputs)]


def halvings(side: int, stages: int) -> tuple[int, list[bool]]:
    """How often maps are halved at once to be below 64, and whether again before each stage.

    Maps are halved as long as there are `SMALL` pixels to halve.
    """
    before = max(0, side.bit_length() - 6)
    side >>= before
    halved: list[bool] = []
    for _ in range(stages):
        halved.append(side >= SMALL)
        side >>= halved[-1]
    return before, halved
