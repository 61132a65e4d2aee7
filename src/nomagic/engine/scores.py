"""What a trained member is worth: metrics of its outputs on held-out data.

Outputs are logits (or numbers, in a regression), one row for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.words import Setup, Task

BINS = 15
"""Bins of the calibration error, as Guo et al. 2017."""

DEFAULT: dict[Task, str] = {
    "classification": "accuracy",
    "binary": "accuracy",
    "multi-label": "f1",
    "regression": "r2",
    "sequence": "loss",
}
LOWER = frozenset({"loss", "error", "mse", "mae", "rmse", "ece", "flips"})
"""Metrics that are the better the lower."""
PERCENT = frozenset({"accuracy", "error", "ece", "f1", "auc", "flips"})
"""Metrics that are shares and are told in points."""


class MetricError(ValueError):
    """A metric that is not known, or does not fit the task."""


def default_loss(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The usual training loss of a task, the mean over the batch."""
    return {
        "classification": F.cross_entropy,
        "binary": _yes_or_no,
        "multi-label": _yes_or_no,
        "regression": _squares,
        "sequence": _next_token,
    }[task]


def _yes_or_no(output: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output.reshape(target.shape), target.to(output.dtype))


def _squares(output: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(output.reshape(target.shape), target.to(output.dtype))


def _next_token(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


def smoothed(loss: Callable[[Tensor, Tensor], Tensor], amount: float) -> Callable[..., Tensor]:
    """The cross entropy ``loss`` with label smoothing (Szegedy et al. 2016, section 7)."""
    if not amount:
        return loss

    def smooth(output: Tensor, target: Tensor) -> Tensor:
        rows = output.flatten(0, -2).log_softmax(-1)
        return (1 - amount) * loss(output, target) - amount * rows.mean(-1).mean()

    return smooth


def metric_name(setup: Setup, task: Task) -> str:
    """The name of the metric that decides."""
    if callable(setup.metric):
        return getattr(setup.metric, "__name__", "metric")
    return setup.metric or DEFAULT[task]


def higher_is_better(setup: Setup, task: Task) -> bool:
    """The direction of the metric that decides; the user's own functions are better if higher."""
    return callable(setup.metric) or metric_name(setup, task) not in LOWER


def score(setup: Setup, task: Task, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """All metrics of one member on its held-out part; the deciding one under its own name, too."""
    outputs = outputs.double()
    scores = _every(task, outputs, targets)
    name = metric_name(setup, task)
    if callable(setup.metric):
        scores[name] = float(setup.metric(outputs, targets))
    elif name not in scores:
        raise MetricError(
            f"the metric {name!r} is not known for {task}; it takes one of "
            f"{', '.join(sorted(scores))}, or a function of (outputs, targets)"
        )
    return scores


def _every(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    if task == "regression":
        return _regression(outputs.reshape(targets.shape), targets.double())
    if task in ("binary", "multi-label"):
        return _decisions(outputs.reshape(targets.shape), targets.double())
    logits, classes = outputs.flatten(0, -2), targets.flatten()
    found = logits.argmax(-1)
    right = (found == classes).double()
    return {
        "accuracy": float(right.mean()),
        "error": 1 - float(right.mean()),
        "loss": float(F.cross_entropy(logits, classes)),
        "ece": calibration_error(logits.softmax(-1).amax(-1), right),
        "f1": _macro_f1(found, classes, logits.shape[-1]),
    }


def _regression(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    squares = float((outputs - targets).square().mean())
    spread = float((targets - targets.mean(0)).square().mean())
    return {
        "loss": squares,
        "mse": squares,
        "rmse": math.sqrt(squares) if squares >= 0 else math.nan,
        "mae": float((outputs - targets).abs().mean()),
        "r2": 1 - squares / spread if spread > 0 else math.nan,
    }


def _decisions(logits: Tensor, targets: Tensor) -> dict[str, float]:
    said = (logits > 0).double()
    right = (said == targets).double()
    chance = logits.sigmoid()
    true = float((said * targets).sum())
    wrong = float((said != targets).sum())
    return {
        "accuracy": float(right.mean()),
        "error": 1 - float(right.mean()),
        "loss": float(F.binary_cross_entropy_with_logits(logits, targets)),
        "ece": calibration_error(torch.maximum(chance, 1 - chance).flatten(), right.flatten()),
        "f1": 2 * true / (2 * true + wrong) if true + wrong else math.nan,
        "auc": _auc(logits.flatten(), targets.flatten()),
    }


def _auc(logits: Tensor, targets: Tensor) -> float:
    """The chance that a yes has a higher logit than a no; ties count half."""
    yes, no = logits[targets > 0.5], logits[targets <= 0.5]
    if not len(yes) or not len(no):
        return math.nan
    no = no.sort().values
    below = torch.searchsorted(no, yes).double()
    upto = torch.searchsorted(no, yes, right=True).double()
    return float(((below + upto) / 2).mean() / len(no))


def _macro_f1(found: Tensor, classes: Tensor, count: int) -> float:
    true = torch.bincount(classes[found == classes], minlength=count).double()
    both = torch.bincount(found, minlength=count) + torch.bincount(classes, minlength=count)
    present = both > 0
    return float((2 * true[present] / both[present]).mean())


def flips(outputs: Tensor, moved: Tensor) -> float:
    """The share of predictions that a shift by one pixel changes.

    ``outputs`` are (n, classes), ``moved`` (4, m, classes) for the first m of the n shifted.
    """
    found = moved.argmax(-1)
    return float((found != outputs[: found.shape[1]].argmax(-1)).double().mean())


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """The expected calibration error over 15 equal bins (Guo et al. 2017)."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64, device=bins.device)
    gaps.index_add_(0, bins, confidence.double() - right.double())
    return float(gaps.abs().sum() / max(1, len(right)))
