"""Where training cuts numbers off (clamp, minimum, nan_to_num), and how many it really cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from nomagic.probes import formulas
from nomagic.probes.probe import Probe
from nomagic.probes.run import Op
from nomagic.probes.trace import Trace
from nomagic.words import Place

CLAMPS = frozenset({"clamp", "clip", "clamp_", "clip_", "clamp_max", "clamp_max_"})
SMALLER = frozenset({"minimum", "min", "fmin"})
CUTS = CLAMPS | SMALLER | {"nan_to_num", "nan_to_num_"}
"""Torch functions that can cut off large numbers."""
LINES = 256
"""Lines that are followed."""


@dataclass(frozen=True, slots=True)
class Clamp:
    """One line that cuts numbers off above ``high`` (nan: at other numbers of a tensor).

    ``cut`` is the share of the numbers that were cut there, ``scalar`` whether each call had one
    number only; ``calls`` are those that were looked at.
    """

    name: str
    place: Place | None
    high: float
    calls: int
    cut: float
    scalar: bool


class Clamps(Probe[Clamp]):
    """The lines of training passes that cut large numbers off."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace,)

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._lines: dict[tuple[str, Place | None], list[Any]] = {}

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor, perhaps cut off."""
        if op.name not in CUTS or not op.grads or not formulas.readable(op.output):
            return
        if not op.output.requires_grad:
            return
        found = share(op)
        if found is None:
            return
        high, cut = found
        key = (op.name, op.place)
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= LINES:
                return
            line = self._lines[key] = [0, 0.0, high, True]
        line[0] += 1
        line[1] = line[1] + cut
        line[3] = line[3] and op.output.numel() == 1

    def on_end(self) -> None:
        """The script is over: rows of plain values."""
        for (name, place), (calls, total, high, scalar) in self._lines.items():
            self.rows.append(Clamp(name, place, high, calls, float(total) / calls, scalar))
        self._lines.clear()


def share(op: Op) -> tuple[float, Any] | None:
    """The upper limit of a call and the share of its numbers that it cut, as a small tensor."""
    first: Any = op.args[0] if op.args else op.kwargs.get("input")
    if not formulas.readable(first):
        return None
    before, after = formulas.thin(first).float(), formulas.thin(op.output).float()
    if op.name.startswith("nan_to_num"):
        return math.inf, (~before.isfinite()).float().mean()
    if op.name in SMALLER:
        other: Any = op.args[1] if len(op.args) > 1 else op.kwargs.get("other")
        return smaller(first, other, after)
    high = limit(op)
    return None if high is None else (high, (after >= high).float().mean())


def smaller(first: Any, other: Any, after: Any) -> tuple[float, Any] | None:
    """The same for a minimum; None where both sides come from the network: the smaller is meant."""
    if not formulas.readable(other) or other.requires_grad == first.requires_grad:
        return None
    kept = formulas.thin(first if first.requires_grad else other).float()
    return (math.nan, (kept != after).float().mean()) if kept.shape == after.shape else None


def limit(op: Op) -> float | None:
    """The upper limit of a clamp, if it has one that is a number."""
    position = 1 if "max" in op.name else 2
    high: Any = op.args[position] if len(op.args) > position else op.kwargs.get("max")
    single = isinstance(high, int | float) or (formulas.readable(high) and high.numel() == 1)
    return float(high) if single else None
