"""Updates should be about a thousandth of the weights in each step.

The ratio of the two norms tells a wrong learning rate layer by layer, and before the loss does.

Against: it is a rule of thumb. Layers in front of a norm layer have no scale of their own,
embeddings move only where a word occurs, and weights that start near zero grow at first. Plain
SGD can recover from a first step as large as its weights.

Check: weight matrices, of optimizers with two or more, in looked steps. A warning if the update
of the median layer is larger than its weights in the first ten steps of an Adam-like optimizer
(twice as large for others), or above a tenth of them in the median later step; or if over 200
steps the loss fell by less than 5 % and the median layer never moved by more than 1e-5. Measured
on 122 small runs over a grid of rates: every Adam run above 1 lost 2 to 90 points of accuracy,
every SGD run above 2 was lost, while good SGD runs reached 1.4 once, early; good runs had 3e-4 to
8e-2 later. Of several optimizers of one script (folds, sweeps) all must agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from nomagic.probes.descent import Descent
from nomagic.probes.optimizers import Optimized, Optimizers
from nomagic.probes.parameters import Moves, Parameters, Weight
from nomagic.probes.restores import Restores
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("CS231", "BEN12")
LARGE = 2.0  # early update of the median layer, as a share of its weights
LARGE_ADAPTIVE = 1.0  # the same where every weight moves by the rate itself
LATER = 0.1  # the median later update
SMALL = 1e-5  # the largest update of the median layer
EARLY = 10  # steps
ENOUGH = 10  # later looks of which a median can be said
PATIENCE = 200  # steps from which on a crawl can be told
FELL = 0.05  # what a run that is learning at all loses of its first loss
ADAPTIVE = ("adam", "rmsprop", "adagrad", "adadelta", "lion", "lamb", "adafactor")
TINY = 0.1  # of 1 / sqrt(inputs): weights that begin below it are meant to grow


@dataclass(frozen=True)
class Ratios:
    """Update over weight of an optimizer's median layer: early, in later steps, at most."""

    optimizer: Optimized
    layers: int
    early: float
    later: float
    most: float


def check(
    parameters: Parameters, optimizers: Optimizers, descent: Descent, restores: Restores
) -> Iterator[Outcome]:
    """Optimizers whose updates are far too large or far too small."""
    found = [ratios for one in optimizers if (ratios := measure(one, parameters)) is not None]
    if not found:
        yield NotApplicable(
            "no optimizer was seen to step two or more weight matrices at a rate above 0"
        )
        return
    large = [too_large(ratios) for ratios in found]
    if all(large):
        yield finding(found[0], large[0], "large")
    elif not any(row.kind == "module" for row in restores) and flat(descent):
        small = [too_small(ratios) for ratios in found]
        if all(small):
            yield finding(found[0], small[0], "small")


def measure(one: Optimized, parameters: Parameters) -> Ratios | None:
    """The ratios of the median layer."""
    layers = [w for w in parameters if one.number in w.optimizers and weighty(w)]
    if len(layers) < 2 or one.closure:
        return None
    early = [
        max((share(look) for look in w.looks if look.step < EARLY), default=math.nan)
        for w in layers
    ]
    later = [[share(look) for look in w.looks if look.step >= EARLY] for w in layers]
    calm = [median(some) for some in later if len(some) >= ENOUGH]
    return Ratios(
        one,
        len(layers),
        median(early) if all(math.isfinite(value) for value in early) else math.nan,
        median(calm) if calm else math.nan,
        median(max(share(look) for look in w.looks) for w in layers),
    )


def weighty(weight: Weight) -> bool:
    """Whether it is a matrix with a scale of its own, moved at a rate above 0."""
    if len(weight.shape) < 2 or weight.embedding or not weight.registered or not weight.looks:
        return False
    usual = math.sqrt(weight.sampled / (weight.elements / weight.shape[0]))
    return weight.looks[0].weight > TINY * usual and all(
        look.rate > 0 and math.isfinite(look.update) and look.weight > 0 for look in weight.looks
    )


def share(look: Moves) -> float:
    """The update as a share of the weights."""
    return look.update / look.weight


def too_large(ratios: Ratios) -> str:
    """What shows that the updates are too large, or nothing."""
    adaptive = any(word in ratios.optimizer.kind.lower() for word in ADAPTIVE)
    limit = LARGE_ADAPTIVE if adaptive else LARGE
    if ratios.early > limit:
        return f"in the first {EARLY} steps an update was {ratios.early:.2g} times the weights"
    if ratios.later > LATER:
        return (
            f"after the first {EARLY} steps the median update is {ratios.later:.0%} of the weights"
        )
    return ""


def too_small(ratios: Ratios) -> str:
    """What shows that the updates are too small, or nothing."""
    if ratios.optimizer.steps < PATIENCE or not ratios.most < SMALL:
        return ""
    return f"in {ratios.optimizer.steps} steps no update was above {ratios.most:.1e} of the weights"


def flat(descent: Descent) -> bool:
    """Whether the loss did not fall."""
    line: Sequence[float] = [
        loss.value for loss in next(iter(descent.lines().values()), []) if loss.finite
    ]
    if len(line) < PATIENCE:
        return False
    part = len(line) // 5
    first, last = fmean(line[:part]), fmean(line[-part:])
    return first > 0 and first - last <= FELL * first


def finding(ratios: Ratios, seen: str, which: str) -> Finding:
    """The finding, at the optimizer's construction."""
    one = ratios.optimizer
    rate = one.rates[0][1] if one.rates else math.nan
    return Finding(
        message=f"updates are far too {which} for the weights",
        seen=f"{seen} (median of {ratios.layers} weight matrices; {one.kind}, rate {rate:.3g})",
        fix=("lower" if which == "large" else "raise") + " the learning rate, towards updates of "
        "about a thousandth of the weights",
        place=one.place or one.stepping,
    )
