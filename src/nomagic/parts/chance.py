"""Random numbers for layers that draw while they train, from a source that a trainer may replace.

By default they come from torch's random state. `nomagic.engine.draws.keyed` draws them by key, so
that a network draws the same numbers whoever is trained beside it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator
from contextvars import ContextVar

import torch
from torch import Tensor

Source = Callable[[tuple[int, ...], Tensor], Tensor]
"""Numbers in [0, 1) of a shape, with the dtype and on the device of a tensor."""
LEAST = 2.0**-24
"""Keeps the logarithm of a number that is 0 finite."""


def uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers in [0, 1) of a shape, with the dtype and on the device of ``like``."""
    return _source.get()(shape, like)


def normal(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers with mean 0 and deviation 1, the same way (Box and Muller 1958)."""
    radius = (-2 * uniform(shape, like).clamp(min=LEAST).log()).sqrt()
    return radius * (2 * math.pi * uniform(shape, like)).cos()


@contextlib.contextmanager
def drawn_by(source: Source) -> Generator[None]:
    """Draw from another source while this is on."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def _torch(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.rand(shape, dtype=like.dtype, device=like.device)


_source: ContextVar[Source] = ContextVar("source", default=_torch)
