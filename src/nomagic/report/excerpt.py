"""The lines of code around a place, read so that no file can hold up a report."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from pathlib import Path

from nomagic.words import Place

AROUND = 3
"""Lines before and after the one that is meant."""
WIDEST = 200
"""Letters of a line that are shown."""
LARGEST = 4_000_000
"""Bytes of a file that is read."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of code, its number from 1, and whether it is the one that is meant."""

    number: int
    text: str
    meant: bool


def around(place: Place, folder: Path | None = None) -> tuple[Line, ...]:
    """The lines around a place; none where there is no such file or line.

    ``folder`` is where relative names start, by default the current one.
    """
    lines = _lines(place.file, folder or Path())
    if not 1 <= place.line <= len(lines):
        return ()
    numbers = range(max(1, place.line - AROUND), min(len(lines), place.line + AROUND) + 1)
    return tuple(
        Line(number, lines[number - 1].rstrip()[:WIDEST], number == place.line)
        for number in numbers
    )


def _lines(file: str, folder: Path) -> list[str]:
    """The lines of a file or a notebook's cell; none of devices, pipes and what is too large."""
    try:
        path = (folder / file).absolute()
        if path.exists():
            right = path.is_file() and path.stat().st_size <= LARGEST
            return linecache.getlines(str(path)) if right else []
        return linecache.getlines(file)
    except (OSError, ValueError):  # a name too long, or with a null byte in it
        return []
