"""How sure a score is: from the samples that were scored.

Shares of right answers have the intervals of Wilson (1927) and, for two models on the same samples,
of Bonett & Price (2012, adjusted Wald), which hold with few samples and without any error; all
other metrics have a bootstrap over the samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.engine import scores
from nomagic.engine.draws import generator
from nomagic.engine.plan import Plan
from nomagic.fitting.quality import wilson

REPEATS, MANY = 400, 20_000
"""Resamples of metrics that are means over samples, and of how many samples at most;"""
FEWER, LARGEST = 60, 2_000
"""of all others."""
Z = 1.959963984540054
"""Standard errors to each side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Score:
    """The deciding metric on some samples, its standard error and 95 % interval.

    ``all`` has every metric. Higher is not always better: see `Plan.higher`.
    """

    value: float
    error: float
    low: float
    high: float
    all: dict[str, float]


def score(plan: Plan, outputs: Tensor, targets: Tensor) -> Score:
    """Score outputs (n, …) for targets."""
    everything = metrics(plan, outputs, targets)
    value = everything[plan.metric]
    if _counted(plan):
        low, high = wilson(value * len(targets), len(targets))
        return Score(value, (high - low) / (2 * Z), low, high, everything)
    error, low, high = _spread(_resampled(plan, (outputs,), targets)[:, 0])
    return Score(value, error, value + low, value + high, everything)


def difference(
    plan: Plan, one: Tensor, other: Tensor, targets: Tensor
) -> tuple[float, float, float]:
    """How much better one's outputs are than the other's on the same samples, with an interval.

    Above zero means better, whatever the direction of the metric.
    """
    if _counted(plan):
        return _paired(*(_right(plan.form.task, each, targets) for each in (one, other)))
    sign = 1.0 if plan.higher else -1.0
    values = [metrics(plan, outputs, targets)[plan.metric] for outputs in (one, other)]
    found = _resampled(plan, (one, other), targets)
    _, low, high = _spread(sign * (found[:, 0] - found[:, 1]))
    gap = sign * (values[0] - values[1])
    return gap, gap + low, gap + high


def _counted(plan: Plan) -> bool:
    """Whether the metric is a share of independent right or wrong answers."""
    one_each = plan.form.task in ("classification", "binary")
    return one_each and plan.setup.metric in ("", "accuracy", "error")


def _paired(one: Tensor, other: Tensor) -> tuple[float, float, float]:
    """How many more answers (n,) of one are right, as a share, with its interval."""
    count = len(one)
    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    up, down = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (count + 2))
    return (gained - lost) / count, up - down - half, up - down + half


def metrics(plan: Plan, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """All metrics of outputs."""
    return scores.score(plan.setup, plan.form.task, outputs, targets)


def _spread(found: Tensor) -> tuple[float, float, float]:
    """The standard error of resampled values, and the ends of their 95 % around their mean."""
    ends = torch.quantile(found, torch.tensor([0.025, 0.975], dtype=found.dtype)) - found.mean()
    return float(found.std()), float(ends[0]), float(ends[1])


def _resampled(plan: Plan, each: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """The metric of each on the same resamples (repeats, len(each))."""
    values = [_by_sample(plan, outputs.double(), targets) for outputs in each]
    known = [value[:MANY] for value in values if value is not None]
    if len(known) == len(each):
        weights = _weights(len(known[0]))
        return _shrunk(torch.stack([weights @ value for value in known], 1), len(known[0]), targets)
    return _one_by_one(plan, each, targets)


def _weights(count: int) -> Tensor:
    """How often each sample is in a resample, as shares (REPEATS, count)."""
    rows = torch.randint(count, (REPEATS, count), generator=generator(0))
    weights = torch.zeros(REPEATS, count, dtype=torch.float64)
    ones = torch.ones(REPEATS, count, dtype=torch.float64)
    return weights.scatter_add_(1, rows, ones) / count


def _by_sample(plan: Plan, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """What each sample adds to a metric that is a mean (n,); None for others."""
    task, metric = plan.form.task, plan.metric
    if callable(plan.setup.metric):
        return None
    if task == "regression":
        gaps = (outputs.reshape(targets.shape) - targets.double()).reshape(len(targets), -1)
        squares = {"loss": gaps.square(), "mse": gaps.square(), "mae": gaps.abs()}.get(metric)
        return None if squares is None else squares.mean(1)
    if metric in ("accuracy", "error"):
        right = _right(task, outputs, targets).double().reshape(len(targets), -1).mean(1)
        return right if metric == "accuracy" else 1 - right
    return _losses(task, outputs, targets) if metric == "loss" else None


def _right(task: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if task in ("binary", "multi-label"):
        return (outputs.reshape(targets.shape) > 0) == (targets > 0.5)
    return outputs.argmax(-1) == targets


def _losses(task: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if task in ("binary", "multi-label"):
        found = F.binary_cross_entropy_with_logits(
            outputs.reshape(targets.shape), targets.double(), reduction="none"
        )
    else:
        found = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return found.reshape(len(targets), -1).mean(1)


def _one_by_one(plan: Plan, each: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Resamples of a part of the samples, and their spread brought to that of all."""
    random, used = generator(0), min(len(targets), LARGEST)
    found: list[list[float]] = []
    for _ in range(FEWER):
        rows = torch.randint(len(targets), (used,), generator=random)
        values = [metrics(plan, one[rows], targets[rows])[plan.metric] for one in each]
        if all(math.isfinite(value) for value in values):
            found.append(values)
    table = torch.tensor(found or [[math.nan] * len(each)], dtype=torch.float64)
    return _shrunk(table, used, targets)


def _shrunk(table: Tensor, used: int, targets: Tensor) -> Tensor:
    """The spread over resamples of a part, brought to that of all samples."""
    return table.mean(0) + (table - table.mean(0)) * math.sqrt(used / len(targets))
