"""The learning rate is the knob to move first: lower when it diverges, higher when it crawls.

Too high, the first steps throw the weights far out, where units are dead or the loss explodes,
and most networks never come back. Too low, the run ends before anything was learnt.

Against: wrong gradients look like a wrong rate; make sure of them first. The losses of
adversarial and reinforcement learning are not meant to fall, and a rate range test diverges on
purpose.

Check: losses of one line that calls backward, all above zero, each optimizer's stretch by itself.
Too high (warning): the loss stands above its *roof*, three times the larger of the first loss and
of the last fifth, for 10 losses in a row; or at all (twice, or once after a step as large as half
the weights) and the last fifth is no better than 0.7 of the first loss; or the last fifth is
three times the first loss; or it rose threefold and then was not finite. Too low (warning): over
200 losses the loss fell by less than 5 % while no layer ever moved by more than a 5,000th of its
weights a step. Measured on 122 small runs over a grid of rates, good ones moved all layers by 3
in 10,000 or more a step, and the exploded ones passed the roof for 1 to 37 losses and then stayed
at chance. Of several stretches (folds, sweeps) all must agree.

Try: a tenth, a third, three times and ten times the setup's learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, median

from nomagic.glimpse import Glimpse
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.optimizers import Optimized, Optimizers
from nomagic.probes.parameters import Parameters, Weight
from nomagic.probes.restores import Restores
from nomagic.words import Arm, Finding, NotApplicable, Outcome, Setup

SOURCES = ("BYU", "LEC98", "BOT12")
FACTORS = {"tenth": 0.1, "third": 1 / 3, "times-3": 3.0, "times-10": 10.0}
ROOF = 3.0
"""Times the first loss and the last ones; good runs stayed below 1.9, or came back at once."""
LONG = 10  # losses in a row above the roof that are no single bad batch
WORSE = 0.7  # of the first loss: what dead or lost networks end above
HUGE = 0.5  # update of the median layer, as a share of its weights
FELL = 0.05  # what a run that is learning at all loses of its first loss
SLOW = 2e-4  # update a step, as a share of the weights, of the fastest layer
LOSSES = 20  # losses from which a rise can be told
PATIENCE = 200  # losses from which on a crawl can be told from a slow start
RANGE = 10.0  # times the rate grows in a rate range test
MAIN = 0.9  # share of the backwards on one line that makes it the loss


@dataclass(frozen=True)
class Stretch:
    """The losses that one optimizer descended, and the optimizer."""

    optimizer: Optimized
    losses: tuple[Loss, ...]

    @property
    def values(self) -> list[float]:
        """The losses before the first that is not finite."""
        bad = next((i for i, loss in enumerate(self.losses) if not loss.finite), len(self.losses))
        return [loss.value for loss in self.losses[:bad]]


def check(
    descent: Descent, optimizers: Optimizers, parameters: Parameters, restores: Restores
) -> Iterator[Outcome]:
    """Losses that rise and stay, or that do not fall."""
    line = falling(descent)
    stretches = split(line, optimizers)
    if not stretches:
        yield NotApplicable(
            "no single loss that is meant to fall, of at least 2 steps of an optimizer"
        )
        return
    if any(climbing(stretch.losses) for stretch in stretches):
        yield NotApplicable("the learning rate grows tenfold: a rate range test")
        return
    high = [too_high(stretch, parameters) for stretch in stretches]
    if all(high):
        yield finding(stretches[0], "high", high[0])
        return
    if any(row.kind == "module" for row in restores):
        return
    low = [too_low(stretch, parameters) for stretch in stretches]
    if all(low):
        yield finding(stretches[0], "low", low[0])


# -- which losses ---------------------------------------------------------------------------


def falling(descent: Descent) -> list[Loss]:
    """The losses of the one line that trains, if there is one and they can be meant to fall."""
    lines = list(descent.lines().values())
    if not lines or len(lines[0]) < MAIN * sum(len(line) for line in lines):
        return []
    return lines[0] if all(loss.value > 0 for loss in lines[0] if loss.finite) else []


def split(line: Sequence[Loss], optimizers: Optimizers) -> list[Stretch]:
    """The stretches between the beginnings of optimizers; those that begin together are one."""
    active = sorted((one for one in optimizers if one.steps > 1), key=lambda one: one.began)
    first = [next(group) for _, group in groupby(active, key=lambda one: one.began)]
    ends = [one.began for one in first[1:]] + [math.inf] if first else []
    stretches = [
        Stretch(one, tuple(loss for loss in line if one.began - 1 <= loss.tick < end - 1))
        for one, end in zip(first, ends, strict=True)
    ]
    return [stretch for stretch in stretches if len(stretch.losses) > 1]


def climbing(losses: Sequence[Loss]) -> bool:
    """Whether the rate grows all along, as in a rate range test."""
    rates = [loss.rate for loss in losses if loss.rate > 0]
    return bool(rates) and rates[-1] >= RANGE * rates[0] and rates[-1] >= max(rates)


# -- too high -------------------------------------------------------------------------------


def too_high(stretch: Stretch, parameters: Parameters) -> str:
    """What shows that the rate is too high, or nothing."""
    values = stretch.values
    if not values:
        return ""
    first, most = values[0], max(values)
    if len(values) < len(stretch.losses):
        rose = most > ROOF * first and most == max(values[-3:])
        return f"the loss rose from {first:.3g} to {most:.3g}, then was not finite" if rose else ""
    if len(values) < LOSSES:
        return ""
    last = values[-len(values) // 5 :]
    if median(last) > ROOF * first:
        return f"the loss began at {first:.3g} and ended at {median(last):.3g}"
    above = [value > ROOF * max(first, *last) for value in values]
    enough = 1 if early(stretch, parameters) > HUGE else 2
    stayed = sum(above) >= enough and fmean(last) > WORSE * first
    if not stayed and longest(above) < LONG:
        return ""
    return (
        f"the loss began at {first:.3g}, rose to {most:.3g} at backward {values.index(most) + 1} "
        f"and ended at {fmean(last):.3g}"
    )


def longest(above: Sequence[bool]) -> int:
    """The length of the longest run of True."""
    return max((len(list(group)) for high, group in groupby(above) if high), default=0)


def early(stretch: Stretch, parameters: Parameters) -> float:
    """The largest update of the median layer in the first ten steps, as a share of its weights."""
    most = [
        max((look.update / look.weight for look in weight.looks if look.step < 10), default=0.0)
        for weight in measured(stretch, parameters)
    ]
    return median(most) if most else 0.0


# -- too low --------------------------------------------------------------------------------


def too_low(stretch: Stretch, parameters: Parameters) -> str:
    """What shows that the rate is too low, or nothing."""
    values = stretch.values
    if len(values) < max(PATIENCE, len(stretch.losses)):
        return ""
    part = len(values) // 5
    first, last = fmean(values[:part]), fmean(values[-part:])
    layers = measured(stretch, parameters)
    if first - last > FELL * first or not layers:
        return ""
    fastest = max(look.update / look.weight for weight in layers for look in weight.looks)
    if fastest > SLOW:
        return ""
    return (
        f"over {len(values)} losses the mean of a fifth went from {first:.4g} to {last:.4g}, and "
        f"no layer moved by more than {fastest:.1e} of its weights in a step"
    )


def measured(stretch: Stretch, parameters: Parameters) -> list[Weight]:
    """The weight matrices of this optimizer whose steps were looked at, at a rate above 0."""
    return [
        weight
        for weight in parameters
        if stretch.optimizer.number in weight.optimizers
        and len(weight.shape) > 1
        and not weight.embedding
        and weight.looks
        and all(look.weight > 0 and look.rate > 0 for look in weight.looks)
    ]


def finding(stretch: Stretch, which: str, seen: str) -> Finding:
    """The finding, at the optimizer's construction."""
    rate = stretch.losses[0].rate
    kind = stretch.optimizer.kind
    said = f" at a learning rate of {rate:.3g} ({kind})" if rate > 0 else f" ({kind})"
    return Finding(
        message=f"the learning rate is too {which}",
        seen=seen + said,
        fix="lower it by 3 to 10 times, until the loss falls from the start"
        if which == "high"
        else "raise it by 10 times, as long as the loss falls",
        place=stretch.optimizer.place or stretch.losses[0].place,
    )


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm]:
    """Four other rates."""
    now = glimpse.rate
    for name, factor in FACTORS.items():
        what = f"a learning rate of {now * factor:.3g} instead of {now:.3g}"
        yield Arm(f"rate-{name}", replace(setup, rate=setup.rate * factor), what, rates=(1.0,))
