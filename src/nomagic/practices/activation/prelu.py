"""Give negative inputs a slope: PReLU with a small slope instead of ReLU, and do not decay it.

A ReLU that is negative for every sample cannot recover; a slope lets the gradient through. PReLU
learns it, one number per layer or channel. Weight decay pulls it to zero, back to ReLU.

Against: He et al. begin at 0.25, the seed advises 0.1. The benefit shrinks with batch norm (MIS17:
47.1 to 48.5 % without, 49.9 to 50.3 % with) and vanishes with He's initial weights; training on a
CPU it costs some twenty times a ReLU.

Check: slopes in a group with weight decay are a note; so is a learnt slope below 0, where the unit
is no longer monotone, or above 1, where it amplifies what it should dampen.
"""

from collections.abc import Iterator

from nomagic.probes.slopes import Slope, Slopes
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002", "HE15", "MIS17")


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
