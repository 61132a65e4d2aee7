"""What training and validation curves say, in words: bias, variance, both, ceiling, and what to do.

The training error less the error that can be reached is bias; the validation error less the
training error is variance (the split of Ng 2018, Machine Learning Yearning, chapters 20 to 27).
What is smaller than its noise, or less than a quarter of the whole, is no trouble.

Bias asks for a larger network, longer training, a better rate; variance for more data,
augmentation, regularisation. One of the texts that this rests on (004) says the reverse, to add
layers on signs of overfitting. The usual reading is followed here; that a larger network,
stopped early, is sometimes better still is an experiment and not a diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean
from typing import Literal

from nomagic.engine import lasting
from nomagic.words import Picture, Series, Task

Trouble = Literal["bias", "variance", "both", "ceiling", "unfinished", "diverged"]

SHARE = 0.25
"""The part of what could be gained that must lie in bias or variance to be called so."""
TAIL = 0.2
"""The part of the epochs at the end that tells whether the validation loss still falls,"""
FALLING = 0.01
"""by so much in a tenth of the epochs or more."""
FEWEST = 5
"""Epochs that it takes to tell a slope."""
RISING = 3
"""Evaluations in a row above the best one that make an onset."""
ESCAPED = 2.0
"""A training loss above what a constant gets, so many times that or its smallest, has diverged."""

ERRORS: dict[Task, str] = {"regression": "rmse", "sequence": "loss"}
"""The metric that is the error of a task; of the others it is the share of wrong answers."""

REMEDIES: dict[Trouble, str] = {
    "bias": "Grow the network by one rung, raise the learning rate, or train longer.",
    "variance": "Get more data or augment it, add weight decay or dropout, or stop earlier; a "
    "larger network is not what is missing.",
    "both": "Grow the network first, until the training error is low, and then regularise.",
    "ceiling": "Stop here: what is left is noise, wrong labels, or beyond these inputs.",
    "unfinished": "Train longer before anything else is judged.",
    "diverged": "Lower the learning rate, clip gradients, and look at the data for extreme values.",
}


@dataclass(frozen=True, slots=True)
class Curves:
    """Losses and errors after each epoch, in evaluation mode and without augmentation.

    ``train`` and ``held`` are losses of the training and the validation part; ``train_error`` and
    ``held_error`` what the metric says, the lower the better: the share of wrong answers, the root
    of the mean square. Without errors the losses are read in their place.
    """

    train: tuple[float, ...]
    held: tuple[float, ...]
    train_error: tuple[float, ...] = ()
    held_error: tuple[float, ...] = ()

    def errors(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Training and validation errors, or losses where there are none."""
        return self.train_error or self.train, self.held_error or self.held


def of(seen: lasting.Curves, task: Task) -> Curves:
    """The curves of one member as the engine keeps them; losses are the task's own."""
    name = ERRORS.get(task, "error")
    errors = [] if name == "loss" else [seen.train[name], seen.held[name]]
    return Curves(tuple(seen.train["loss"]), tuple(seen.held["loss"]), *map(tuple, errors))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the curves are held against, in the unit of the errors.

    ``constant`` is the error of the best constant answer, ``constant_loss`` its loss. ``floor`` is
    the error that can be reached, as far as is known: of people, of wrong labels, else 0.
    ``half`` is 1.96 standard errors of the validation error, over seeds or samples, ``train_half``
    that of the training error and ``loss_half`` that of the validation loss. ``unit`` stands
    behind numbers: " %" shows them in percent.
    """

    constant: float
    half: float
    floor: float = 0.0
    train_half: float = 0.0
    loss_half: float = 0.0
    constant_loss: float = math.inf
    unit: str = " %"

    def told(self, error: float) -> str:
        """An error in words."""
        return f"{100 * error:.1f} %" if self.unit == " %" else f"{error:.3g}{self.unit}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the curves say: the trouble, sentences, what to do, and how sure that is (0.5 to 1).

    ``train`` is the training error at the end, ``held`` the validation error of the best epoch,
    ``bias`` and ``variance`` are the two parts of what lies above the floor. ``onset`` is the
    epoch (from 1) after which the validation loss rose while the training loss fell, or None.
    """

    trouble: Trouble
    says: tuple[str, ...]
    advice: str
    confidence: float
    train: float
    held: float
    bias: float
    variance: float
    best: int
    onset: int | None = None
    pictures: tuple[Picture, ...] = field(default=())


def diagnose(curves: Curves, facts: Facts) -> Diagnosis:
    """Read the curves of one training.

    Args:
        curves: after each epoch, one or more.
        facts: baseline, floor and noise.

    Raises:
        ValueError: the curves are empty or differ in length.
    """
    _check(curves)
    if _diverged(curves, facts):
        return _failure(curves, facts)
    trained, held = curves.errors()
    best = min(range(len(curves.held)), key=lambda epoch: curves.held[epoch])
    low, high = min(trained[best:]), held[best]
    bias, variance = max(0.0, low - facts.floor), high - low
    trouble, confidence = _name(curves, facts, bias, variance)
    first = onset(curves, facts.loss_half)
    return Diagnosis(
        trouble=trouble,
        says=_says(curves, facts, trouble, low, high, first),
        advice=REMEDIES[trouble],
        confidence=confidence,
        train=low,
        held=high,
        bias=bias,
        variance=variance,
        best=best + 1,
        onset=first,
        pictures=_pictures(curves, facts, trouble, first),
    )


def onset(curves: Curves, half: float = 0.0) -> int | None:
    """The epoch (from 1) after which overfitting sets in, or None.

    It is that of the smallest validation loss, if the last three evaluations or more after it lie
    above it by more than the noise ``half``, and the training loss is lower than it was.
    """
    best = min(range(len(curves.held)), key=lambda epoch: curves.held[epoch])
    after = curves.held[best + 1 :]
    if len(after) < RISING:
        return None
    above = all(loss > curves.held[best] + half for loss in after[-RISING:])
    return best + 1 if above and min(curves.train[best + 1 :]) < curves.train[best] else None


def grows(before: float, after: float, noise: float) -> bool:
    """The rule of the ladder: a larger network is kept when it is better by more than the noise.

    Args:
        before: the validation score of the smaller network, the higher the better.
        after: that of the larger one.
        noise: 1.96 standard errors of the difference, such as `gain` gives it.
    """
    return after - before > noise


def gain(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """The mean gain of paired scores (of seeds, or of samples), and the half of its 95 % interval.

    The interval is Student's; it is infinite for a single pair.
    """
    from scipy.stats import t

    differences = [new - old for old, new in zip(before, after, strict=True)]
    count, mean = len(differences), fmean(differences)
    if count < 2:
        return mean, math.inf
    square = sum((one - mean) ** 2 for one in differences) / (count - 1)
    return mean, float(t.ppf(0.975, count - 1)) * math.sqrt(square / count)


def _check(curves: Curves) -> None:
    lengths = {len(curves.train), len(curves.held)}
    lengths |= {len(one) for one in (curves.train_error, curves.held_error) if one}
    if len(lengths) > 1 or not curves.held:
        raise ValueError(
            f"the curves have {sorted(lengths)} epochs; expected one number of each for every epoch"
        )


# -- the name --------------------------------------------------------------------------------------


def _name(curves: Curves, facts: Facts, bias: float, variance: float) -> tuple[Trouble, float]:
    """The trouble, and how sure it is."""
    whole = bias + max(0.0, variance)
    half = math.hypot(facts.half, facts.train_half)
    parts = (
        (bias, max(facts.train_half, SHARE * whole), facts.train_half),
        (variance, max(half, SHARE * whole), half),
    )
    biased, varied = (part > bar for part, bar, _ in parts)
    sure = min(_sure(part - bar, noise) for part, bar, noise in parts)
    if whole <= facts.half:
        return "ceiling", _sure(facts.half - whole, facts.half)
    if (biased or bias > facts.half) and falling(curves):
        return "unfinished", sure
    if biased:
        return ("both" if varied else "bias"), sure
    return ("variance" if varied else "ceiling"), sure


def _sure(gap: float, half: float) -> float:
    """The probability that a gap is not noise alone, with 1.96 standard errors of noise."""
    return NormalDist().cdf(1.96 * abs(gap) / half) if half > 0 else 1.0


def falling(curves: Curves) -> bool:
    """Whether the validation loss still falls at the end, by 1 % in a tenth of the epochs."""
    count = len(curves.held)
    last = max(FEWEST, round(TAIL * count))
    if count < FEWEST:
        return count > 1 and curves.held[-1] < (1 - FALLING) * curves.held[-2]
    tail = curves.held[-last:]
    middle = (last - 1) / 2
    slope = sum((i - middle) * loss for i, loss in enumerate(tail))
    slope /= sum((i - middle) ** 2 for i in range(last))
    return -slope * count / 10 > FALLING * abs(fmean(tail))


def _diverged(curves: Curves, facts: Facts) -> bool:
    """Whether training got lost: not finite, or far above its best and above a constant."""
    end = curves.train[-1]
    if not all(map(math.isfinite, (*curves.train, *curves.held))):
        return True
    limit = min(facts.constant_loss, max(curves.train))
    return end >= limit and end > ESCAPED * min(abs(min(curves.train)), facts.constant_loss)


def _failure(curves: Curves, facts: Facts) -> Diagnosis:
    epochs = range(len(curves.train))
    finite = [i for i in epochs if math.isfinite(curves.train[i] + curves.held[i])]
    best = min(finite, key=lambda i: curves.held[i], default=0)
    trained, held = curves.errors()
    numbers = (
        f"The training loss was {curves.train[best]:.3g} after epoch {best + 1} and is "
        f"{curves.train[-1]:.3g} at the end."
    )
    return Diagnosis(
        trouble="diverged",
        says=(MEANINGS["diverged"], numbers, REMEDIES["diverged"]),
        advice=REMEDIES["diverged"],
        confidence=1.0,
        train=trained[best],
        held=held[best],
        bias=math.nan,
        variance=math.nan,
        best=best + 1,
        pictures=_pictures(curves, facts, "diverged", None) if finite else (),
    )


# -- words and pictures ----------------------------------------------------------------------------

MEANINGS: dict[Trouble, str] = {
    "bias": "Bias (underfitting): the network cannot even fit the data that it learns from.",
    "variance": "Variance (overfitting): the network fits its training data and does worse on data "
    "that it has not seen.",
    "both": "Bias and variance: the network does not fit its training data, and does worse still "
    "on data that it has not seen.",
    "ceiling": "Ceiling: training and validation are as good as can be told.",
    "unfinished": "Unfinished: the validation loss still falls at the end.",
    "diverged": "Diverged: training got lost.",
}


def _says(
    curves: Curves, facts: Facts, trouble: Trouble, low: float, high: float, first: int | None
) -> tuple[str, ...]:
    told = facts.told
    numbers = (
        f"The error is {told(low)} on the training data and {told(high)} (± {told(facts.half)}) on "
        f"the validation data; a constant answer has {told(facts.constant)}, and "
        f"{told(facts.floor)} is what can be reached at best."
    )
    says = [MEANINGS[trouble], numbers]
    if trouble == "ceiling":
        says.append(
            f"What is left, {told(max(0.0, high - facts.floor))}, cannot be told from the noise of "
            "this validation data; finer differences need more of it."
        )
    if first is not None:
        says.append(_overfits(curves, first))
    return (*says, REMEDIES[trouble])


def _overfits(curves: Curves, first: int) -> str:
    text = f"From epoch {first} on the validation loss rises while the training loss falls."
    wrong = curves.held_error
    if wrong and fmean(wrong[-RISING:]) <= wrong[first - 1]:
        return (
            f"{text} The validation error does not: the network becomes too sure of its wrong "
            "answers, which a temperature can repair."
        )
    return f"{text} The network of that epoch is the one to keep."


def _pictures(
    curves: Curves, facts: Facts, trouble: Trouble, first: int | None
) -> tuple[Picture, ...]:
    losses = _picture("Loss by epoch", "loss", trouble, curves.train, curves.held)
    if first is not None:
        lost = [loss for loss in (*curves.train, *curves.held) if math.isfinite(loss)]
        ends = (min(lost), max(lost))
        mark = Series("overfitting sets in", (float(first),) * 2, ends, kind="guide")
        losses = Picture(
            losses.title, losses.says, losses.x, losses.y, (*losses.series, mark), losses.log
        )
    if not curves.held_error:
        return (losses,)
    trained, held = curves.errors()
    picture = _picture("Error by epoch", "error", trouble, trained, held)
    lines = [("a constant answer", facts.constant), ("can be reached", facts.floor)]
    guides = tuple(
        Series(name, (1.0, float(len(held))), (error, error), kind="guide") for name, error in lines
    )
    band = Series(
        "validation",
        picture.series[1].x,
        held,
        tuple(max(0.0, one - facts.half) for one in held),
        tuple(one + facts.half for one in held),
    )
    return losses, Picture(
        picture.title, picture.says, "epoch", "error", (picture.series[0], band, *guides)
    )


def _picture(
    title: str, unit: str, trouble: Trouble, trained: Sequence[float], held: Sequence[float]
) -> Picture:
    epochs = tuple(float(i) for i in range(1, len(held) + 1))
    return Picture(
        title,
        f"{MEANINGS[trouble]} At the end the {unit} is {trained[-1]:.3g} on the training data and "
        f"{held[-1]:.3g} on the validation data.",
        "epoch",
        unit,
        (Series("training", epochs, tuple(trained)), Series("validation", epochs, tuple(held))),
    )
