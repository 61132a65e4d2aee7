"""Plain values as people read them: nested tables of numbers, and descriptions as code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nomagic.report.lines import duration

ROWS = 200
"""Rows of a table that are shown."""
LISTED = 24
"""Values of a list that are shown on a line."""
DEPTH = 6
"""Tables within tables; what lies deeper is written on a line."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: ``rows`` of cells as wide as ``head``, which is empty for names and values.

    ``more`` rows are left out.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | Grid, ...], ...]
    more: int = 0


def grid(value: Any, most: int = ROWS, depth: int = 0) -> str | Grid:
    """A plain value as a table of tables of ``most`` rows, or as text where it is but one."""
    if depth > DEPTH or not _nested(value):
        return _line(value)
    if isinstance(value, Mapping):
        return _table([(str(name), one) for name, one in value.items()], most, depth)
    if all(isinstance(one, Mapping) for one in value):
        return _records(value, most, depth)
    return _table([(str(place), one) for place, one in enumerate(value, 1)], most, depth)


def number(value: Any) -> str:
    """A number, a word or nothing, as text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    return str(value)


def told(value: Any) -> str:
    """A description by `nomagic.described` as one would write it: AdamW(lr=0.001)."""
    if not isinstance(value, Mapping):
        return f"[{', '.join(map(told, value))}]" if isinstance(value, list) else number(value)
    made = value.get("partial", value.get("make"))
    if made is not None:
        given = [told(one) for one in value.get("args", ())]
        named = [f"{name}={told(one)}" for name, one in value.get("named", {}).items()]
        return f"{told(made)}({', '.join(given + named)})"
    for kind in ("name", "own"):
        if kind in value:
            return str(value[kind]).rpartition(":")[2]
    if len(value) == 1 and next(iter(value)) in ("list", "float"):
        return told(next(iter(value.values())))
    return ", ".join(f"{name}: {told(one)}" for name, one in value.items())


def _nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, (list, tuple)) and any(
        isinstance(one, (Mapping, list, tuple)) for one in value
    )


def _table(pairs: Sequence[tuple[str, Any]], most: int, depth: int) -> Grid:
    """Names and values; where all values are records alike, one column for each of their fields."""
    inner = [one for _, one in pairs]
    if len(pairs) > 1 and all(isinstance(one, Mapping) and one for one in inner):
        fields = _fields(inner)
        if len(fields) <= max(map(len, inner)) + 2:
            rows = tuple((name, *_cells(one, fields, most, depth)) for name, one in pairs[:most])
            return Grid(("", *fields), rows, max(0, len(pairs) - most))
    rows = tuple((name, _value(name, one, most, depth)) for name, one in pairs[:most])
    return Grid((), rows, max(0, len(pairs) - most))


def _records(records: Sequence[Mapping[str, Any]], most: int, depth: int) -> Grid:
    fields = _fields(records)
    rows = tuple(tuple(_cells(one, fields, most, depth)) for one in records[:most])
    return Grid(tuple(fields), rows, max(0, len(records) - most))


def _fields(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that the first records have, in their order."""
    return [str(name) for name in dict.fromkeys(key for one in islice(records, 50) for key in one)]


def _cells(
    record: Mapping[str, Any], fields: Sequence[str], most: int, depth: int
) -> list[str | Grid]:
    return [_value(name, record.get(name, ""), most, depth) for name in fields]


def _value(name: str, value: Any, most: int, depth: int) -> str | Grid:
    if name == "seconds" and isinstance(value, float) and math.isfinite(value):
        return duration(value)
    return grid(value, most, depth + 1)


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return told(value) if value else "none"
    if not isinstance(value, (list, tuple)):
        return number(value)
    if not value:
        return "none"
    more = len(value) - LISTED
    return ", ".join(map(number, value[:LISTED])) + (f" … ({more:,} more)" if more > 0 else "")


def _decimal(value: float) -> str:
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    form = f"{value:,.4g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"
    return form.replace("-", "−") if "e" not in form else form
