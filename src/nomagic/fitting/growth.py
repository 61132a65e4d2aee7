"""What more data would bring: the error against the number of training samples.

The setup is trained on shares of its training data, nested and by the same number of steps, and
scored on the same held-out part. (A training that is too short is limited by its steps, and not by
its data; then no gain shows.) Mean errors follow error = c + a n^-b more often than not
(Hestness et al. 2017, arXiv:1712.00409; Viering & Loog 2022, arXiv:2103.10948, for when they do
not): c is what no amount of these data takes away.

A few sizes do not tell c from b, so no single law is trusted: an interval holds what any law says
that fits the points not significantly worse than the best one (a profile likelihood, with the F
test of 1 degree of freedom). Noise is what the seeds differ by, after each one's mean is taken off,
and the misfit of the best law.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nomagic.datasets import Data
from nomagic.engine import choose
from nomagic.engine.choose import How
from nomagic.engine.draws import generator, stream
from nomagic.engine.plan import Plan
from nomagic.words import Picture, Series, Setup, Stage, Task

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the training data."""
FEWEST = 20
"""Training samples below which nothing is read from a share."""
EXPONENTS = np.geomspace(0.05, 2.0, 160)
"""The exponents b of the laws that are tried,"""
PARTS = 240
"""with so many parts of the error that fall with the data, of which the rest is c."""
LEVEL = 0.95
MISFIT = 0.01
"""The level of the test of whether a law fits at all."""
FAR = 10.0
"""Times the data at which the floor is looked for."""
LEFT = 0.8
"""With more of the error than this left there, more data is not what helps."""
METRICS: dict[Task, str] = {"regression": "rmse", "sequence": "loss"}
"""What counts as the error of a task; of the others it is the share of wrong answers."""
AXES = {
    "error": "share of answers that are wrong",
    "loss": "loss (nats)",
    "rmse": "error (RMSE)",
}
UNITS: dict[str, str] = {"error": "pt", "loss": "nats", "rmse": ""}

Floats = NDArray[np.float64]


class GrowthError(ValueError):
    """Nothing can be read from the points: says what came and what was expected."""


@dataclass(frozen=True, slots=True)
class Points:
    """Errors (sizes, seeds) of trainings on so many samples; nan where one failed.

    ``metric`` is error (a share), rmse or loss; seeds are in the same order for all sizes.
    """

    sizes: tuple[int, ...]
    errors: tuple[tuple[float, ...], ...]
    metric: str = "error"


@dataclass(frozen=True, slots=True)
class Growth:
    """What is known of the error at other numbers of samples.

    ``now`` is the error with all data, ``gain`` what twice the data would take off it, with a
    95 % interval from ``low`` to ``high``; ``far`` the interval of the error with ten times the
    data. ``exponent`` and ``floor`` are medians. ``fits`` says that the points lie no further
    from the law than the seeds explain (at the level 0.01).
    """

    points: Points
    now: float
    gain: float
    low: float
    high: float
    far: tuple[float, float]
    exponent: float
    floor: float
    fits: bool
    line: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def helps(self) -> bool:
        """Whether more data can be expected to take away a fifth of the error or more."""
        return self.far[0] < LEFT * self.now


# -- trainings -----------------------------------------------------------------------------------


class Fewer(Plan):
    """A plan that trains on a share of the training rows, and is scored on the same held-out part.

    Smaller shares are parts of larger ones. Epochs are added so that the steps stay the same. With
    ``split="time"`` the latest rows are kept, else rows drawn by seed.
    """

    def __init__(self, setup: Setup, data: Data | None, share: float) -> None:
        self.share = share
        patience = None if setup.patience is None else round(setup.patience / share)
        longer = replace(setup, epochs=max(1, round(setup.epochs / share)), patience=patience)
        super().__init__(longer, data)

    def _split(self, seed: int) -> tuple[Tensor, Tensor]:
        rows, held = super()._split(seed)
        count = max(1, round(self.share * len(rows)))
        if self.setup.split == "time":
            return rows[len(rows) - count :], held
        order = torch.randperm(len(rows), generator=generator(stream(seed, "share")))
        return rows[order[:count].sort().values], held


def measure(
    setup: Setup,
    data: Data | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    shares: Sequence[float] = SHARES,
    how: How | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Points:
    """Train on each share with each seed.

    Args:
        setup: what is trained, as it is with all the data.
        data: the same setup's data, already read.
        seeds: each has a split, weights and order of its own; two or more.
        shares: of the training data, the largest last; those of less than 20 samples are left out.
        how: the engine; by default the fastest by measurement.
        tell: told what goes on.

    Raises:
        GrowthError: fewer than two seeds.
    """
    if len(seeds) < 2:
        raise GrowthError(f"there is {len(seeds)} seed; expected two or more, to know the noise")
    plans = [Fewer(setup, data, share) for share in sorted(shares)]
    sizes = [len(plan.part(seeds[0]).train) for plan in plans]
    metric = METRICS.get(plans[-1].form.task, "error")
    how = how or choose.choose(plans[-1], len(seeds)).how
    kept: list[int] = []
    errors: list[tuple[float, ...]] = []
    for plan, size in zip(plans, sizes, strict=True):
        if size < FEWEST:
            continue
        tell(f"{size} training samples, {len(seeds)} seeds")
        found = choose.train(plan, seeds, how)
        kept.append(size)
        errors.append(tuple(one.scores.get(metric, math.nan) for one in found))
    return Points(tuple(kept), tuple(errors), metric)


# -- the law ---------------------------------------------------------------------------------------


def extrapolate(points: Points) -> Growth:
    """Fit the law and say what twice the data would bring.

    Raises:
        GrowthError: fewer than three sizes, or fewer than two seeds that finished at all of them.
    """
    sizes, errors = _finished(points)
    laws = _laws(sizes, errors)
    low, gain, high = laws.interval(laws.part * (1 - 2.0**-laws.exponent))
    grid = np.geomspace(sizes[0], FAR * sizes[-1], 40).tolist()
    bands = [laws.at(size / sizes[-1]) for size in grid]
    least, _, most = laws.at(FAR)
    best = laws.best
    return Growth(
        points=points,
        now=laws.at(1.0)[1],
        gain=gain,
        low=low,
        high=high,
        far=(least, most),
        exponent=float(laws.exponent[best]),
        floor=max(0.0, float(laws.error[best] * (1 - laws.part[best]))),
        fits=laws.fits,
        line=tuple((size, *band) for size, band in zip(grid, bands, strict=True)),
    )


def _finished(points: Points) -> tuple[Floats, Floats]:
    """Sizes, and errors (seeds, sizes) of the seeds that finished everywhere."""
    errors = np.array(points.errors, float).T
    errors = errors[np.isfinite(errors).all(1)] if errors.size else errors
    if len(points.sizes) < 3 or len(errors) < 2:
        raise GrowthError(
            f"there are {len(points.sizes)} sizes and {len(errors)} seeds that finished at all of "
            "them; expected three sizes and two seeds or more"
        )
    return np.array(points.sizes, float), errors


@dataclass(frozen=True, eq=False)
class Laws:
    """Laws error (1 - part + part times^-exponent), with the error that fits best to each.

    All are (laws,). ``misfit`` is the weighted sum of squares that each leaves and ``limit`` the
    largest that is not significantly worse than the smallest; ``curvature`` says how fast it
    grows as the error leaves the best one.
    """

    exponent: Floats
    part: Floats
    error: Floats
    misfit: Floats
    curvature: Floats
    limit: float
    fits: bool

    @property
    def best(self) -> int:
        """The law that fits best."""
        return int(self.misfit.argmin())

    def interval(self, factor: Floats) -> tuple[float, float, float]:
        """The low end, the best value and the high end of the error times a factor of each law."""
        room = np.maximum(0.0, self.limit - self.misfit)
        reach = np.sqrt(room / self.curvature)
        kept = self.misfit <= self.limit
        low, high = (factor * np.maximum(0.0, self.error + sign * reach) for sign in (-1, 1))
        middle = factor[self.best] * self.error[self.best]
        return max(0.0, float(low[kept].min())), max(0.0, float(middle)), float(high[kept].max())

    def at(self, times: float) -> tuple[float, float, float]:
        """The same of the error with so many times the data."""
        return self.interval(1 - self.part + self.part * times**-self.exponent)


def _laws(sizes: Floats, errors: Floats) -> Laws:
    """All laws held against errors (seeds, sizes); the noise grows with the root of the error.

    The floor may lie below 0 by as much as the errors are off because of the seeds' splits.
    """
    means, offsets = errors.mean(0), errors.mean(1)
    scale = np.sqrt(np.maximum(means, 1e-12 + 1e-3 * means.max()))
    slack = 1.96 * offsets.std(ddof=1) / math.sqrt(len(offsets)) / max(means[-1], 1e-12)
    parts = np.linspace(0.0, 1 + min(1.0, slack), PARTS)
    exponent, part = (grid.ravel() for grid in np.meshgrid(EXPONENTS, parts))
    falling = (sizes / sizes[-1]) ** -exponent[:, None]
    shapes = (1 - part[:, None] + part[:, None] * falling) / scale
    curvature = (shapes**2).sum(1)
    error = shapes @ (means / scale) / curvature
    misfit = ((means / scale - error[:, None] * shapes) ** 2).sum(1)
    limit, fits = _limit(errors / scale, float(misfit.min()))
    return Laws(exponent, part, error, misfit, curvature, limit, fits)


def _limit(scaled: Floats, least: float) -> tuple[float, bool]:
    """The largest misfit that is not significantly worse than the least, and whether that fits."""
    from scipy.stats import f

    seeds, count = scaled.shape
    rest = scaled - scaled.mean(1, keepdims=True) - scaled.mean(0) + scaled.mean()
    within, free = float((rest**2).sum()) / seeds, (seeds - 1) * (count - 1)
    extra = max(1, count - 3)
    noise = max((within + least) / (free + extra), 1e-24)
    limit = least + noise * float(f.ppf(LEVEL, 1, free + extra))
    fits = least / extra <= max(within / free, 1e-24) * float(f.ppf(1 - MISFIT, extra, free))
    return limit, fits


# -- words and pictures ----------------------------------------------------------------------------


def _told(value: float, metric: str) -> str:
    """A difference in words: ``+1.1 pt`` of an error that is a share."""
    return f"{100 * value:.1f}" if metric == "error" else f"{value:.3g}"


def says(found: Growth) -> tuple[str, ...]:
    """What it means, for people."""
    metric, sizes = found.points.metric, found.points.sizes
    unit = f" {UNITS[metric]}".rstrip()
    low, gain, high = (_told(one, metric) for one in (found.low, found.gain, found.high))
    first = (
        f"Twice the data ({2 * sizes[-1]} training samples) would bring +{gain}{unit} "
        f"({low} … {high}): the error is {_told(found.now, metric)}{unit} with {sizes[-1]}."
    )
    if found.low <= 0.02 * found.now:
        first += " That it brings next to nothing cannot be ruled out."
    ten = tuple(_told(one, metric) for one in found.far)
    if found.helps:
        second = f"With ten times the data it would be {ten[0]} … {ten[1]}{unit}."
    else:
        second = (
            f"More data will hardly help: with ten times as much the error would still be "
            f"{ten[0]}{unit} or more. Better labels, inputs or a better model are what is missing."
        )
    third = (
        "The points do not follow a power law: read this with care."
        if not found.fits
        else f"This is read from {len(sizes)} sizes and {len(found.points.errors[0])} seeds."
    )
    return first, second, third


def picture(found: Growth) -> Picture:
    """The errors, the law with its band, and what is expected of twice the data."""
    points = found.points
    means = [np.array(row)[np.isfinite(row)] for row in points.errors]
    sizes = tuple(float(size) for size in points.sizes)
    grid, low, middle, high = (tuple(column) for column in zip(*found.line, strict=True))
    mean, least, most = (tuple(float(of(row)) for row in means) for of in (np.mean, np.min, np.max))
    return Picture(
        "What would more data bring?",
        says(found)[0],
        "training samples",
        AXES[points.metric],
        (
            Series("power law", grid, middle, low, high),
            Series("measured", sizes, mean, least, most, "points"),
            Series("twice the data", (2 * sizes[-1],), (found.now - found.gain,), kind="points"),
        ),
        "xy",
    )


def evidence(points: Points) -> Stage:
    """The stage ``growth``: what more data would bring, or why that cannot be told."""
    try:
        found = extrapolate(points)
    except GrowthError as error:
        return Stage("growth", skipped=str(error))
    numbers = {
        "sizes": list(points.sizes),
        "errors": [list(row) for row in points.errors],
        "metric": points.metric,
        **{name: getattr(found, name) for name in ("now", "gain", "low", "high", "helps", "fits")},
        "exponent": found.exponent,
        "floor": found.floor,
        "far": list(found.far),
    }
    return Stage("growth", says=says(found), numbers=numbers, pictures=(picture(found),))
