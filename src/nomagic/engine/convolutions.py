"""Two-dimensional convolutions on a CPU: maps with their channels last are faster.

oneDNN's convolution and torch's pooling and batch norm read neighbouring channels at once, which
makes small networks half as fast again on one thread (lab/log.md). The weights keep their layout:
only what goes into a convolution is laid out, and what follows keeps it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Counted:
    """How many convolutions were laid out."""

    calls: int = 0


@contextlib.contextmanager
def channels_last() -> Generator[Counted]:
    """`torch.nn.functional.conv2d` on maps with their channels last while this is on."""
    theirs, counted = F.conv2d, Counted()

    def conv2d(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002 (torch's name)
        counted.calls += 1
        return theirs(laid_out(input) if input.ndim == 4 else input, *args, **kwargs)

    F.conv2d = conv2d
    try:
        yield counted
    finally:
        F.conv2d = theirs


def laid_out(x: Tensor) -> Tensor:
    """Maps (n, channels, height, width) with their channels last in memory.

    With one channel the numbers lie the same either way, and only the strides say which is meant.
    """
    if x.shape[1] != 1:
        return x.contiguous(memory_format=torch.channels_last)
    high, wide = x.shape[2:]
    return x.contiguous().as_strided(x.shape, (high * wide, 1, wide, 1))
