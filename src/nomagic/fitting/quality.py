"""How good predictions are, and how well they know it.

Everything here is a pure function of outputs and targets. ``outputs`` are those of one or more
networks, logits or numbers: classification (members, n, classes), binary (members, n[, 1]),
multi-label (members, n, labels), sequence (members, n, length, tokens), regression (members,
n[, targets]). ``targets`` are as `nomagic.datasets.Data` gives them. The prediction is that of the
mean probability; a temperature divides the logits of this mean (pool, then calibrate: Rahaman &
Thiery 2021, arXiv:2007.08792).

What is fitted here, temperature and the width of intervals, is fitted on validation data. Where
the same data chose the best epoch too, both are slightly too optimistic.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from torch import Tensor

from nomagic.engine.plain import averaged
from nomagic.engine.scores import BINS, calibration_error
from nomagic.words import Task

HOTTEST, COLDEST = 20.0, 0.05
"""The largest and the smallest temperature."""
LEVEL = 0.9
"""The share of targets that intervals of a regression are to cover."""
POINTS = 50
"""Points of an abstention curve."""
STARTS = 4
"""Numbers of answers at which the search for a threshold begins."""


class QualityError(ValueError):
    """Outputs and targets do not fit together: says what came and what was expected."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The predictions of one range of confidence: means, and an interval for the accuracy."""

    confidence: float
    accuracy: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One point of an abstention curve: the most confident share of inputs, and their error."""

    coverage: float
    error: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What a regression does not know of each target, learnt on validation data.

    ``variance`` is that of the residuals, less what the networks' spread explains; intervals reach
    ``reach`` standard deviations of both together to each side.
    """

    variance: tuple[float, ...]
    reach: tuple[float, ...]
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class Quality:
    """How good predictions are, in numbers.

    ``numbers`` of classes, yes or no, labels and tokens (``samples`` decisions): accuracy, error
    and its 95 % interval error_low to error_high, nll in nats with its half-width nll_half (1.96
    standard errors), bits, ece and ece_by_chance (what a perfectly calibrated network would have
    shown), brier, confidence (the mean), aurc (the area under the abstention curve) and detection
    (how often a right answer has a higher confidence than a wrong one). Of a regression: rmse, mae,
    r2, nll of normal distributions with nll_half, coverage and width of the intervals; where there
    are several networks, their spread, aurc (of absolute errors), and detection (how often the
    spread is smaller for the better half).
    """

    task: Task
    samples: int
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    bins: tuple[Bin, ...] = ()
    abstention: tuple[Answered, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """How sure each prediction is; every tensor has one number for each decision.

    ``confidence`` is the probability of what is predicted, ``entropy`` that of the prediction in
    nats, ``information`` the part of it on which the networks disagree (BALD, Houlsby et al. 2011,
    arXiv:1112.5745), ``spread`` the deviation among networks of the probability of what is
    predicted. A regression has the spread of its numbers only.
    """

    spread: Tensor
    confidence: Tensor | None = None
    entropy: Tensor | None = None
    information: Tensor | None = None


# -- one form for all tasks -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Predictions as choices: log-probabilities (decisions, choices) and what was right.

    ``each`` is how many decisions belong to one sample: tokens or labels. They are not independent.
    """

    logs: Tensor
    right: Tensor
    each: int

    @property
    def correct(self) -> Tensor:
        """1 where the most probable choice is the right one, else 0."""
        return (self.logs.argmax(-1) == self.right).double()

    @property
    def confidence(self) -> Tensor:
        """The probability of the most probable choice."""
        return self.logs.amax(-1).exp().clamp(max=1.0)

    @property
    def losses(self) -> Tensor:
        """The negative log-probability of what was right, in nats."""
        return -self.logs.gather(-1, self.right[:, None])[:, 0]


def check(outputs: Tensor, targets: Tensor, task: Task) -> None:
    """Raise `QualityError` where outputs and targets do not fit together."""
    wanted, found = tuple(targets.shape), tuple(outputs.shape[1:])
    choices = task in ("classification", "sequence")
    fits = found[:-1] == wanted if choices else math.prod(found) == math.prod(wanted)
    if not fits or found[:1] != wanted[:1]:
        inner = ", ".join(map(str, (*wanted, *["choices"] * choices)))
        raise QualityError(
            f"outputs have shape {tuple(outputs.shape)} for targets {wanted} in {task}; expected "
            f"(members, {inner})"
        )
    if not len(targets):
        raise QualityError("there are no targets; expected one or more samples")
    if not bool(outputs.isfinite().all()):
        raise QualityError("outputs hold NaN or infinity; the training has failed")


def decisions(outputs: Tensor, targets: Tensor, task: Task, temperature: float = 1.0) -> Decisions:
    """Predictions as choices; yes or no, and each label, is a choice between two.

    Raises:
        QualityError: outputs and targets do not fit together, or it is a regression.
    """
    check(outputs, targets, task)
    if task == "regression":
        raise QualityError("a regression has no choices to be confident of")
    logits = averaged(outputs, task) / temperature
    each = max(1, targets.numel() // len(targets))
    if task in ("binary", "multi-label"):
        logits = torch.stack([torch.zeros_like(logits.flatten()), logits.flatten()], -1)
    return Decisions(logits.flatten(0, -2).log_softmax(-1), targets.flatten().long(), each)


# -- calibration ------------------------------------------------------------------------------


def temperature(outputs: Tensor, targets: Tensor, task: Task) -> float:
    """The temperature that makes probabilities match frequencies (Guo et al. 2017).

    It has the smallest loss on these validation data, as if one answer more had been wrong: with
    the correction of Platt (1999) it stays finite where all answers are right. It lies between
    `COLDEST` and `HOTTEST`, see `at_end`; 1 for a regression and where all logits are equal.
    """
    if task == "regression":
        check(outputs, targets, task)
        return 1.0
    from scipy.optimize import minimize_scalar

    found = decisions(outputs, targets, task)
    if float(found.logs.amax(-1).sub(found.logs.amin(-1)).max()) < 1e-6:
        return 1.0
    doubt = 1 / (len(found.right) // found.each + 2)
    top = found.logs.argmax(-1, keepdim=True)

    def loss(log: float) -> float:
        logs = (found.logs / math.exp(log)).log_softmax(-1)
        others = logs.scatter(-1, top, -math.inf).logsumexp(-1)
        hit = logs.gather(-1, found.right[:, None]).mean()
        return -float((1 - doubt) * hit + doubt * others.mean())

    ends = (math.log(COLDEST), math.log(HOTTEST))
    return math.exp(minimize_scalar(loss, bounds=ends, method="bounded").x)


def at_end(found: float) -> bool:
    """Whether a temperature is at an end of its range, so that a still better one lies beyond."""
    return not COLDEST * 1.01 < found < HOTTEST / 1.01


def noise(outputs: Tensor, targets: Tensor, level: float = LEVEL) -> Noise:
    """What a regression's networks do not know, from its validation residuals.

    The intervals are split-conformal, scaled by the deviation of each prediction (Lei et al. 2018,
    arXiv:1604.04173): they cover ``level`` of new targets or more, whatever their distribution, as
    long as new data come from where these did. With too few samples they reach to infinity.
    """
    check(outputs, targets, "regression")
    mean, spread = _moments(outputs, targets)
    gaps = _columns(targets.double()) - mean
    variance = (gaps.square() - spread).mean(0).clamp(min=1e-12 + 0.01 * gaps.square().mean(0))
    ratios = (gaps.abs() / (spread + variance).sqrt()).sort(0).values
    rank = math.ceil((len(ratios) + 1) * level)
    reach = ratios[rank - 1] if rank <= len(ratios) else torch.full_like(ratios[0], math.inf)
    return Noise(tuple(variance.tolist()), tuple(reach.tolist()), level)


def _columns(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1)


def _moments(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance among networks, each (n, targets)."""
    every = outputs.double().reshape(len(outputs), len(targets), -1)
    spread = every.var(0) if len(every) > 1 else torch.zeros_like(every[0])
    return every.mean(0), spread


def bounds(outputs: Tensor, known: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, lower and upper end of the interval of each number, (n, targets) each."""
    mean, spread = _moments(outputs, outputs[0])
    variance, reach = (torch.tensor(one).double() for one in (known.variance, known.reach))
    wide = reach * (spread + variance).sqrt()
    return mean, mean - wide, mean + wide


# -- the numbers ------------------------------------------------------------------------------


def judge(
    outputs: Tensor,
    targets: Tensor,
    task: Task,
    temperature: float = 1.0,
    noise: Noise | None = None,
) -> Quality:
    """How good predictions are.

    Args:
        outputs: logits or numbers (members, n, …).
        targets: as `nomagic.datasets.Data` gives them.
        task: what is predicted.
        temperature: as `temperature` found it on validation data.
        noise: of a regression, as `noise` found it; without it the variance of these residuals
            is taken and there are no intervals.

    Raises:
        QualityError: outputs and targets do not fit together.
    """
    if task == "regression":
        return _regression(outputs, targets, noise)
    found = decisions(outputs, targets, task, temperature)
    correct, confidence, losses = found.correct, found.confidence, found.losses
    share, curve = float(correct.mean()), abstention(confidence, 1 - correct)
    low, high = interval(1 - correct, found.each)
    two = task in ("binary", "multi-label")
    numbers = {
        "accuracy": share,
        "error": 1 - share,
        "error_low": low,
        "error_high": high,
        "nll": float(losses.mean()),
        "nll_half": half_width(losses, found.each),
        "bits": float(losses.mean()) / math.log(2),
        "ece": calibration_error(confidence, correct),
        "ece_by_chance": by_chance(confidence),
        "brier": brier(found) / (2 if two else 1),
        "confidence": float(confidence.mean()),
        "aurc": area(confidence, 1 - correct),
        "detection": detection(confidence, correct),
    }
    return Quality(task, len(correct), numbers, reliability(confidence, correct), curve)


def _regression(outputs: Tensor, targets: Tensor, known: Noise | None) -> Quality:
    check(outputs, targets, "regression")
    mean, spread = _moments(outputs, targets)
    wanted = _columns(targets.double())
    gaps = wanted - mean
    squares = float(gaps.square().mean())
    total = float((wanted - wanted.mean(0)).square().mean())
    variance = spread + _variance(gaps, known)
    losses = 0.5 * ((2 * math.pi * variance).log() + gaps.square() / variance)
    numbers = {
        "rmse": math.sqrt(squares),
        "mae": float(gaps.abs().mean()),
        "r2": 1 - squares / total if total > 0 else math.nan,
        "nll": float(losses.mean()),
        "nll_half": half_width(losses.flatten(), wanted.shape[1]),
    }
    if known is not None:
        _, low, high = bounds(outputs, known)
        inside = ((wanted >= low) & (wanted <= high)).double()
        numbers |= {"coverage": float(inside.mean()), "width": float((high - low).mean())}
    if len(outputs) < 2:
        return Quality("regression", len(wanted), numbers)
    sure, off = -spread.mean(1).sqrt(), gaps.abs().mean(1)
    numbers |= {
        "aurc": area(sure, off),
        "spread": float(spread.mean().sqrt()),
        "detection": detection(sure, (off <= off.median()).double()),
    }
    return Quality("regression", len(wanted), numbers, abstention=abstention(sure, off))


def _variance(gaps: Tensor, known: Noise | None) -> Tensor:
    if known is None:
        return gaps.square().mean(0).clamp(min=1e-12)
    return torch.tensor(known.variance).double()


def brier(found: Decisions) -> float:
    """The squared distance of the probabilities from what was right, summed over choices."""
    chance = found.logs.exp()
    hit = chance.gather(-1, found.right[:, None])[:, 0]
    return float((chance.square().sum(-1) - 2 * hit + 1).mean())


def wilson(wrong: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (1927) of a share: ``wrong`` of ``count``, which need not be whole.

    >>> tuple(round(end, 3) for end in wilson(0, 100))
    (0.0, 0.037)
    """
    if count <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, add = wrong / count, z * z / count
    middle = (share + add / 2) / (1 + add)
    half = z / (1 + add) * math.sqrt(max(0.0, share * (1 - share) / count + add / count / 4))
    return max(0.0, middle - half), min(1.0, middle + half)


def interval(wrong: Tensor, each: int = 1) -> tuple[float, float]:
    """A 95 % interval of the share of ones; ``each`` decisions in a row belong to one sample.

    Such decisions are worth fewer independent ones (the design effect, Kish 1965).
    """
    count, share = len(wrong), float(wrong.mean())
    if each > 1 and count // each > 1 and 0 < share < 1:
        variance = float(wrong.reshape(-1, each).mean(1).var()) * each
        count = count / max(1.0, variance / (share * (1 - share)))
    return wilson(share * count, count)


def half_width(values: Tensor, each: int = 1) -> float:
    """1.96 standard errors of a mean; ``each`` values in a row belong to one sample."""
    rows = values.double().reshape(-1, each).mean(1)
    return 1.96 * float(rows.std()) / math.sqrt(len(rows)) if len(rows) > 1 else math.inf


def _binned(confidence: Tensor, values: Tensor) -> Tensor:
    """Sums of the values (n, …) over 15 equal ranges of confidence."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(BINS, *values.shape[1:], dtype=torch.float64)
    return sums.index_add_(0, bins.cpu(), values.double().cpu())


def by_chance(confidence: Tensor) -> float:
    """About the calibration error that a network shows whose confidence is exactly right.

    It is above zero because each bin has few samples: a sum of n choices with variance v is off by
    sqrt(2 v / pi) in the mean where it is normal, and by 2 v at most.
    """
    variance = _binned(confidence, confidence * (1 - confidence))
    off = torch.minimum((2 / math.pi * variance).sqrt(), 2 * variance)
    return float(off.sum()) / len(confidence)


def reliability(confidence: Tensor, right: Tensor) -> tuple[Bin, ...]:
    """The bins of a reliability diagram: those of 15 equal ones that are not empty."""
    columns = torch.stack([torch.ones_like(confidence), confidence, right], 1)
    return tuple(
        Bin(sure / count, hits / count, *wilson(hits, count), int(count))
        for count, sure, hits in _binned(confidence, columns).tolist()
        if count
    )


# -- abstention -------------------------------------------------------------------------------


def abstention(confidence: Tensor, loss: Tensor) -> tuple[Answered, ...]:
    """The mean loss of the most confident inputs, by the share of inputs that they are."""
    risks = _risks(confidence, loss)
    count = len(risks)
    kept = sorted({max(1, round(count * point / POINTS)) for point in range(1, POINTS + 1)})
    return tuple(Answered(number / count, float(risks[number - 1])) for number in kept)


def area(confidence: Tensor, loss: Tensor) -> float:
    """The area under the abstention curve (Geifman et al. 2019, arXiv:1805.08206)."""
    return float(_risks(confidence, loss).mean())


def _risks(confidence: Tensor, loss: Tensor) -> Tensor:
    """The mean loss of the 1, 2, 3, … most confident; equally confident ones share their loss."""
    values, groups = confidence.unique(return_inverse=True)
    sums = torch.zeros(len(values), 2, dtype=torch.float64, device=loss.device)
    pairs = torch.stack([loss.double(), torch.ones_like(loss, dtype=torch.float64)], 1)
    means = sums.index_add_(0, groups, pairs)
    shared = (means[:, 0] / means[:, 1])[groups]
    order = confidence.argsort(descending=True, stable=True)
    return shared[order].cumsum(0) / torch.arange(1, len(loss) + 1, device=loss.device)


def detection(confidence: Tensor, right: Tensor) -> float:
    """How often a right answer is more confident than a wrong one (AUROC); nan without both."""
    from scipy.stats import rankdata

    hits = int(right.sum())
    misses = len(right) - hits
    if not hits or not misses:
        return math.nan
    ranks = torch.from_numpy(rankdata(confidence.cpu().numpy()))
    return (float(ranks[right.cpu() > 0].sum()) - hits * (hits + 1) / 2) / (hits * misses)


def threshold(confidence: Tensor, right: Tensor, error: float, level: float = 0.95) -> float | None:
    """Above which confidence to answer, so that at most a share ``error`` of answers is wrong.

    That holds on new data of the same kind with probability ``level`` over the validation data
    given here, which must be independent samples (Geifman & El-Yaniv 2017, arXiv:1705.08500). At
    numbers of answers that are fixed in advance, the exact binomial test asks whether the error is
    below the target, from few answers to many until it fails; that starts at four numbers and
    keeps the largest that is reached, each at a quarter of the risk (fixed sequences with several
    starts: Angelopoulos et al. 2021, Learn then Test, arXiv:2110.01052).

    Returns:
        A confidence, -inf where all inputs may be answered, or None where no number of answers
        is proven.
    """
    if not 0 < error < 1 or not 0 < level < 1:
        raise QualityError(f"error is {error} and level {level}; both are shares between 0 and 1")
    from scipy.stats import binom

    values, order = confidence.cpu().sort(descending=True, stable=True)
    wrong = (1 - right.cpu().double())[order].cumsum(0)
    count, risk = len(values), (1 - level) / STARTS
    least = math.ceil(math.log(risk) / math.log1p(-error))
    starts = [least << start for start in range(STARTS)]
    steps = {*starts, *range(least, count, max(1, count // POINTS)), count}
    ends = [_tied(values, step) for step in sorted(steps) if least <= step <= count]
    errors = [round(float(wrong[end - 1])) for end in ends]
    passed = [bool(chance <= risk) for chance in binom.cdf(errors, ends, error)]
    first = (bisect.bisect_left(ends, start) for start in starts)
    best = max((_last(passed, place) for place in first), default=-1)
    if best < 0:
        return None
    return float(values[ends[best]]) if ends[best] < count else -math.inf


def _tied(values: Tensor, step: int) -> int:
    """How many of the sorted values are as large as the first ``step`` are."""
    return step + int((values[step:] == values[step - 1]).sum())


def _last(passed: Sequence[bool], start: int) -> int:
    """The last of those that pass in a row from ``start`` on; -1 where that one fails."""
    last = -1
    for place in range(start, len(passed)):
        if not passed[place]:
            break
        last = place
    return last


# -- each prediction --------------------------------------------------------------------------


def uncertainty(outputs: Tensor, task: Task, temperature: float = 1.0) -> Uncertainty:
    """How sure each prediction is; see `Uncertainty`.

    Information and spread are those of the networks as they are, without the temperature.
    """
    if task == "regression":
        alone = torch.zeros_like(outputs[0], dtype=torch.float64)
        return Uncertainty(outputs.double().std(0) if len(outputs) > 1 else alone)
    every = _logs(outputs.double(), task)
    mean = every.logsumexp(0) - math.log(len(outputs))
    final = (mean / temperature).log_softmax(-1)
    chosen = mean.argmax(-1)
    chances = every.exp().gather(-1, chosen.expand(len(every), *chosen.shape)[..., None])[..., 0]
    alone = torch.zeros_like(chances[0])
    return Uncertainty(
        spread=chances.std(0) if len(chances) > 1 else alone,
        confidence=final.amax(-1).exp(),
        entropy=_entropy(final),
        information=(_entropy(mean) - _entropy(every).mean(0)).clamp(min=0),
    )


def _logs(outputs: Tensor, task: Task) -> Tensor:
    """Log-probabilities, with a choice between two for yes or no."""
    if task in ("binary", "multi-label"):
        outputs = torch.stack([torch.zeros_like(outputs), outputs], -1)
    return outputs.log_softmax(-1)


def _entropy(logs: Tensor) -> Tensor:
    return -(logs.exp() * logs.clamp(min=-1e4)).sum(-1)
