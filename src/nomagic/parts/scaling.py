"""Columns of inputs: the features of flat ones, the channels of images and waveforms."""

from __future__ import annotations

import torch
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


KNOTS = 32
"""Values of a column between which `by_rank` interpolates, at most."""
FAR = 3.0
"""Deviations of the normal distribution beyond which ranks are not told apart."""


def ranks(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of inputs (n, *shape): some values in order, and their normal scores.

    Both are (`KNOTS`, *shape). The score of a value is the normal quantile of its mean rank, in
    deviations of the scores from their mean; a column with fewer values ends in infinite ones.
    """
    flat = x.reshape(len(x), -1).double()
    columns = [_scores(column) for column in flat.T]
    values, scores = (torch.stack(parts, 1) for parts in zip(*columns, strict=True))
    shape = (KNOTS, *x.shape[1:])
    return values.to(x.dtype).reshape(shape), scores.to(x.dtype).reshape(shape)


def _scores(column: Tensor) -> tuple[Tensor, Tensor]:
    """The values of a column (n,) that become knots, and their scores."""
    values, counts = column.unique(return_counts=True)
    share = (counts.cumsum(0) - counts / 2) / len(column)
    score = torch.special.ndtri(share).clamp(-FAR, FAR)
    mean = (counts * score).sum() / len(column)
    deviation = ((counts * (score - mean).square()).sum() / len(column)).sqrt()
    score = (score - mean) / deviation if deviation > 0 else torch.zeros_like(score)
    if len(values) > KNOTS:
        wanted = torch.linspace(0, 1, KNOTS, dtype=share.dtype, device=share.device)
        places = torch.searchsorted(share, wanted).clamp(max=len(values) - 1).unique()
        values, score = values[places], score[places]
    missing = (0, KNOTS - len(values))
    values = torch.nn.functional.pad(values, missing, value=torch.inf)
    return values, torch.cat((score, score[-1:].expand(missing[1])))


def by_rank(x: Tensor, values: Tensor, scores: Tensor) -> Tensor:
    """Inputs (…, *shape) as normal scores, linear between the knots and constant beyond them."""
    shape = values.shape[1:]
    flat, knots, heights = x.reshape(-1, shape.numel()), values.flatten(1), scores.flatten(1)
    place = (flat.unsqueeze(1) >= knots[1:-1]).sum(1)
    low, high = knots.gather(0, place), knots.gather(0, place + 1)
    way = ((flat - low) / (high - low)).clamp(0, 1)
    start = heights.gather(0, place)
    return (start + (heights.gather(0, place + 1) - start) * way).reshape(x.shape)
