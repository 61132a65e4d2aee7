"""Give negative inputs a slope: PReLU with a small slope instead of ReLU, and do not decay it.

A ReLU that is negative for every sample cannot recover; a slope lets the gradient through. PReLU
learns it, one number per layer or channel. Weight decay pulls it to zero, back to ReLU.

Against: He et al. begin at 0.25, the seed advises 0.1. The benefit shrinks with batch norm (MIS17:
47.1 to 48.5 % without, 49.9 to 50.3 % with) and vanishes with He's initial weights; training on a
CPU it costs some twenty times a ReLU.

Check: slopes in a group with weight decay are a note; so is a learnt slope below 0, where the unit
is no longer monotone, or above 1, where it amplifies what it should dampen.

Try: PReLU that begins at 0.1, and at 0.25, in place of every hidden ReLU; its slope is not decayed.
Where weights are not scaled by fan-in, also on top of He's weights, against these alone: what is
left of the gain is that of the unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.slopes import Slope, Slopes
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("002", "HE15", "MIS17")
PROMISE = Promise("ImageNet without batch norm: 47.1 to 48.5 % accuracy", "MIS17", "helps", 1.4)
SLOPES = (0.1, 0.25)  # the seed's, and He et al.'s


def check(slopes: Slopes) -> Iterator[Outcome]:
    """Slopes that are decayed, and slopes that left 0 to 1."""
    if not len(slopes):
        yield NotApplicable("no PReLU is trained")
        return
    decayed = [row for row in slopes if row.decay > 0]
    if decayed:
        yield _decayed(decayed)
    for row in slopes:
        if row.low < 0 or row.high > 1:
            yield _outside(row)


def _decayed(rows: list[Slope]) -> Finding:
    first = rows[0]
    return Finding(
        message="weight decay pulls PReLU slopes to zero",
        seen=f"{first.name or 'PReLU'} is in a group with weight_decay={first.decay:g}"
        + (f", and {len(rows) - 1} more" if len(rows) > 1 else "")
        + f"; its slope went from {first.start:.3g} to {first.low:.3g}",
        fix="put the slopes into a parameter group of their own with weight_decay=0",
        severity="note",
        place=first.place or first.optimizer,
    )


def _outside(row: Slope) -> Finding:
    return Finding(
        message="a PReLU slope has left the range from 0 to 1",
        seen=f"{row.name or 'PReLU'}: slopes from {row.low:.3g} to {row.high:.3g} after "
        f"{row.steps} steps, "
        f"{row.start:.3g} at the start",
        fix="lower the learning rate of the slopes, or use LeakyReLU with a fixed slope",
        severity="note",
        place=row.place,
    )


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """PReLU for ReLU, from two slopes."""
    from nomagic.parts.inits import unscaled
    from nomagic.parts.rehearsal import arms

    edits = [
        (Edit(f"prelu-{slope}", partial(lean, slope=slope)), f"relu becomes prelu from {slope}")
        for slope in SLOPES
    ]
    plain = list(arms(setup, glimpse, edits))
    yield from plain
    if isinstance(plain[0], Arm) and any(unscaled(glimpse.model, glimpse.sample)):
        yield _on_scaled_weights(setup, plain[0])


def _on_scaled_weights(setup: Setup, arm: Arm) -> Arm:
    """The arm's unit with He's weights, against He's weights alone."""
    from nomagic.parts.inits import rescale

    baseline = replace(setup, edits=(*setup.edits, Edit("scaled-init", rescale)))
    edited = replace(baseline, edits=(*baseline.edits, arm.setup.edits[-1]))
    what = f"{arm.what}, both with He's weights"
    return Arm(f"{arm.name}-on-scaled-init", edited, what, baseline=baseline)


def lean(model: nn.Module, sample: Tensor, slope: float) -> nn.Module:
    """Make hidden ReLUs PReLUs that begin with this slope."""
    from nomagic.parts.surgery import swap_units

    return swap_units(model, sample, {"relu"}, partial(_sloped, slope))


def _sloped(slope: float) -> nn.Module:
    from torch import nn

    unit = nn.PReLU(init=slope)
    vars(unit.weight)["no_decay"] = True
    return unit
