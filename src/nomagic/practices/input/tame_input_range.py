"""Tame heavy-tailed inputs (log, tanh of x/C) before normalising, so that the useful range is kept.

After plain standardising, a column with a few enormous values squeezes all other rows onto almost
one number: the network sees the tail and nothing else.

Against: squashing destroys information in the tail, which may be what one looks for.

Check: columns of what enters the first layer. Skewness above 10, or a largest value more than 1,000
times the typical one (the median of what is not zero), is a warning. In columns that are mostly one
value the others must also reach ten times as far from it as their median does: border pixels and
rare flags are skewed because they are rare. Columns of few different values, and those that stay
within five root mean squares of the whole input, are left alone.
"""

from collections.abc import Iterator

from nomagic.probes.inputs import Column, Input, Inputs
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome

SOURCES = ("BYU",)
SKEW = 10.0  # an exponential has 2, a log-normal of sigma 1 has 6
SPAN = 1_000.0  # largest to typical value: a thousandth of the range is left to half of the rows
STRETCH = 10.0  # of 200 exponential values the largest is 8 medians away
BEYOND = 5.0  # root mean squares of the whole input: pixels share one range and stay within 3
ROWS = 200
OTHERS = 50  # values beside the most frequent one
LEVELS = 16


def check(inputs: Inputs) -> Iterator[Outcome]:
    """Columns with heavy tails."""
    judged = [
        seen for seen in inputs if seen.kind != "embedding" and seen.floating and seen.rows >= ROWS
    ]
    if not judged:
        if inputs.trouble:
            yield CouldNotLook(inputs.trouble)
        else:
            yield NotApplicable(
                "fewer than 200 rows of plain numbers were seen to enter the network"
            )
        return
    for seen in judged:
        heavy = [
            column
            for column in seen.columns
            if is_heavy(column) and largest(column) > BEYOND * seen.rms
        ]
        if heavy:
            yield finding(seen, heavy)


def is_heavy(column: Column) -> bool:
    """Whether a few values of the column dwarf all others."""
    if column.levels < LEVELS:
        return False
    if column.common > 0.5:
        return abs(column.skew) > SKEW and column.stretch > STRETCH and column.others >= OTHERS
    return abs(column.skew) > SKEW or span(column) > SPAN


def largest(column: Column) -> float:
    """The largest absolute value."""
    return max(abs(column.low), abs(column.high))


def span(column: Column) -> float:
    """The largest absolute value, in typical ones."""
    return largest(column) / column.typical if column.typical > 0 else 0.0


def finding(seen: Input, heavy: list[Column]) -> Finding:
    """One finding about an input, told by its worst column."""
    worst = max(heavy, key=lambda column: abs(column.skew))
    count = f"{len(heavy)} of {len(seen.columns)} columns; " if len(seen.columns) > 1 else ""
    return Finding(
        message="the input has heavy tails",
        seen=f"{count}column {worst.index} of what enters {seen.layer}: skewness {worst.skew:.1f}, "
        f"largest value {largest(worst):.3g}, typical {worst.typical:.3g}",
        fix="take the logarithm (log1p) or squash with tanh(x/C) before standardising",
        place=seen.place,
    )
