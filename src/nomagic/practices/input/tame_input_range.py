"""Tame heavy-tailed inputs (log, tanh of x/C) before normalising, so that the useful range is kept.

After plain standardising, a column with a few enormous values squeezes all other rows onto almost one number: the network sees the tail and
nothing else.

Against: squashing destroys information in the tail, which may be what one looks for.

Check: columns of what enters the first layer. Skewness above 10, or a largest value more than 1,000 times the typical one
(the median of what is not zero), is a warning. Columns of few different values, and those that are mostly one value and
otherwise too few to judge (border pixels, rare flags), are left alone; where one value dominates, the others are judged.
"""

from collections.abc import Iterator

from nomagic.probes.inputs import Column, Input, Inputs
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome

SOURCES = ("BYU",)
SKEW = 10.0  # an exponential has 2, a log-normal of sigma 1 has 6
SPAN = 1_000.0  # largest to typical value: a thousandth of the range is left to half of the rows
ROWS = 200  # values in the column, its most frequent value left out if that is most of it
LEVELS = 16


def check(inputs: Inputs) -> Iterator[Outcome]:
    """Columns with heavy tails."""
    judged = [seen for seen in inputs if seen.kind != "embedding" and seen.floating and seen.rows >= ROWS]
    if not judged:
        if inputs.trouble:
            yield CouldNotLook(inputs.trouble)
        else:
            yield NotApplicable("fewer than 200 rows of plain numbers were seen to enter the network")
        return
    for seen in judged:
        heavy = [column for column in seen.columns if is_heavy(column)]
        if heavy:
            yield finding(seen, heavy)


def is_heavy(column: Column) -> bool:
    """Whether a few values of the column dwarf all others."""
    if column.levels < LEVELS or column.rows < ROWS:
        return False
    return abs(column.skew) > SKEW or span(column) > SPAN


def span(column: Column) -> float:
    """The largest absolute value, in typical ones."""
    largest = max(abs(column.low), abs(column.high))
    return largest / column.typical if column.typical > 0 else 0.0


def finding(seen: Input, heavy: list[Column]) -> Finding:
    """One finding about an input, told by its worst column."""
    worst = max(heavy, key=lambda column: abs(column.skew))
    count = f"{len(heavy)} of {len(seen.columns)} columns; " if len(seen.columns) > 1 else ""
    return Finding(
        message="the input has heavy tails",
        seen=f"{count}column {worst.index} of what enters {seen.layer}: skewness {worst.skew:.1f}, "
        f"largest value {max(abs(worst.low), abs(worst.high)):.3g}, typical {worst.typical:.3g}",
        fix="take the logarithm (log1p) or squash with tanh(x/C) before standardising",
        place=seen.place,
    )
