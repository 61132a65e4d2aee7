"""Columns of inputs: the features of flat ones, the channels of images and waveforms."""

from __future__ import annotations

from torch import Tensor

from nomagic.glimpse import Glimpse
from nomagic.words import Setup


def seen(setup: Setup, glimpse: Glimpse) -> Tensor:
    """Training inputs (n, *shape) as the model sees them, after the setup's input steps."""
    x = glimpse.raw
    for step in setup.inputs:
        x = step.use(x, *step.fit(x))
    return x


def mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of inputs (n, *shape), to be broadcast against one of them.

    The deviation of a column that is constant is given as 1.
    """
    if x.ndim < 2:
        x = x[:, None]
    others = (0, *range(2, x.ndim))
    mean = x.mean(others, keepdim=True)[0]
    deviation = (x - mean).square().mean(others, keepdim=True)[0].sqrt()
    constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-6)
    return mean, deviation.masked_fill(constant, 1.0)


def standardise(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Inputs (…, *shape) in deviations from their mean."""
    return (x - mean) / deviation


def bounds(x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest number of inputs (n, *shape), to be broadcast against one.

    Flat inputs have them for each feature, images and waveforms for all numbers together. The
    largest of a constant feature is given as its number plus 1.
    """
    flat = x.reshape(len(x), -1) if x.ndim < 3 else x.reshape(-1, 1)
    low, high = flat.amin(0), flat.amax(0)
    shape = (1,) * (x.ndim - 1) if x.ndim > 2 else x.shape[1:]
    high = high.where(high > low, low + 1)
    return low.reshape(shape), high.reshape(shape)
