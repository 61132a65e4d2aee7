"""Autocast for networks that are mapped over members: torch's own passes some functions by.

Under `torch.vmap` a convolution stays in float32, and batch norm and PReLU refuse what autocast
made bfloat16 before them. Here they do as they do for one network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LOWERED = (
    *("conv1d", "conv2d", "conv3d"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    "prelu",
)
"""Functions that autocast computes in its own dtype."""


@contextlib.contextmanager
def cast() -> Generator[None]:
    """Where autocast is on, these functions heed it while this is on."""
    theirs = {name: getattr(F, name) for name in (*LOWERED, "batch_norm")}
    try:
        for name in LOWERED:
            setattr(F, name, _lowered(theirs[name]))
        F.batch_norm = _raised(theirs["batch_norm"])
        yield
    finally:
        for name, function in theirs.items():
            setattr(F, name, function)


def _lowered(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In the dtype of autocast."""

    def lowered(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002 (torch's name)
        kind = input.device.type
        if not torch.is_autocast_enabled(kind):
            return function(input, *args, **kwargs)
        dtype = torch.get_autocast_dtype(kind)
        others = {name: _to(value, dtype) for name, value in kwargs.items()}
        return function(input.to(dtype), *(_to(value, dtype) for value in args), **others)

    return lowered


def _to(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) else value


def _raised(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In float32, as the kernel for one network computes inside; the result as it came."""

    def raised(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002 (torch's name)
        if input.dtype not in (torch.bfloat16, torch.float16):
            return function(input, *args, **kwargs)
        return function(input.float(), *args, **kwargs).to(input.dtype)

    return raised
