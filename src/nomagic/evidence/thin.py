"""Long series made short: what a picture holds is bounded, however long the run was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from nomagic.words import Series

T = TypeVar("T")

STEPS = 120
"""Points of one curve."""
ROWS = 40
"""Rows of one map."""
COLUMNS = 50
"""Columns of one map."""


def spread_out(values: Sequence[T], most: int) -> list[T]:
    """At most so many of them, the first and the last among these, evenly spread."""
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def band(name: str, points: Sequence[tuple[float, float]]) -> Series:
    """A curve through (x, y): the mean of each stretch, and the lowest and highest in it.

    What is no number is left out; without stretches there is no band.
    """
    known = [(x, y) for x, y in points if math.isfinite(y)]
    size = math.ceil(len(known) / STEPS)
    if size <= 1:
        return Series(name, tuple(float(x) for x, _ in known), tuple(y for _, y in known))
    groups = [known[at : at + size] for at in range(0, len(known), size)]
    heights = [[y for _, y in group] for group in groups]
    return Series(
        name,
        tuple(float(group[len(group) // 2][0]) for group in groups),
        tuple(sum(ys) / len(ys) for ys in heights),
        tuple(min(ys) for ys in heights),
        tuple(max(ys) for ys in heights),
    )
