"""A map: a table of numbers as shades, such as true against predicted class, or layers by step.

Each series of the picture is one row. Large maps are made smaller, each field then holding the
largest of its numbers; small ones have their numbers written in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nomagic.report.ink import SERIES, shown, tick
from nomagic.words import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, COLUMNS = 48, 60
"""Fields of the largest map that is drawn."""
WRITTEN = 12
"""A map of no more rows and columns than this has its numbers written in."""
SHADES = 8
"""Shades that are told apart; the legend shows every other."""
DARKEST, BESIDE = 0.92, 0.5
"""How opaque the darkest shade is, and how much so where numbers are to be read on it."""
LIGHTEST = 0.13
FIELD = 26
"""The height of a row with numbers, in pixels; without numbers rows are as narrow as a half."""


@dataclass(frozen=True)
class _Map:
    """Shades (rows, columns), nan where there is nothing, and the names along both sides."""

    values: NDArray[np.float64]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    log: bool

    @property
    def written(self) -> bool:
        return max(self.values.shape, default=0) <= WRITTEN

    def levels(self) -> tuple[NDArray[np.int64], list[float]]:
        """The shade of each field, 0 to `SHADES` - 1 (-1: none), and the values at all shades."""
        scaled = np.where(self.values > 0, self.values, np.nan) if self.log else self.values
        scaled = np.where(np.isfinite(scaled), scaled, np.nan)
        scaled = np.log10(scaled) if self.log else scaled
        known = scaled[np.isfinite(scaled)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        share = (scaled - low) / (high - low) if high > low else np.zeros_like(scaled)
        shade = np.where(np.isnan(share), -1, np.rint(share * (SHADES - 1)))
        ends = np.linspace(low, high, SHADES) if len(known) else np.zeros(0)
        return shade.astype(np.int64), [float(10**end if self.log else end) for end in ends]


def figure(picture: Picture, width: int) -> Figure:
    """Draw a map, ``width`` pixels wide and as high as its rows need."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    found = _small(picture)
    row = FIELD if found.written else min(FIELD / 2, 380 / max(len(found.rows), 1))
    height = min(max(150.0, 96 + row * len(found.rows)), 520.0)
    made = Figure(figsize=(width / 72, height / 72), layout="constrained")
    FigureCanvasSVG(made)
    made.patch.set_visible(False)
    axes = made.add_subplot()
    axes.patch.set_visible(False)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    _fields(made, axes, found, picture)
    _names(axes, found, picture)
    return made


def _small(picture: Picture) -> _Map:
    """The map of a picture, made smaller where it has too many rows or columns."""
    columns = list(dict.fromkeys(one for series in picture.series for one in series.x))
    places = {name: place for place, name in enumerate(columns)}
    values = np.full((len(picture.series), len(columns)), np.nan)
    for row, series in enumerate(picture.series):
        values[row, [places[one] for one in series.x]] = series.y
    down, across = (
        math.ceil(n / most) for n, most in zip(values.shape, (ROWS, COLUMNS), strict=True)
    )
    return _Map(
        _largest(_largest(values, max(down, 1), 0), max(across, 1), 1),
        tuple(series.name for series in picture.series)[:: max(down, 1)],
        tuple(one if isinstance(one, str) else tick(one) for one in columns)[:: max(across, 1)],
        "y" in picture.log,
    )


def _largest(values: NDArray[np.float64], stretch: int, axis: int) -> NDArray[np.float64]:
    """The largest value of each stretch of rows or columns; nan only where all are."""
    if stretch == 1 or not values.size:
        return values
    starts = list(range(0, values.shape[axis], stretch))
    return np.fmax.reduceat(values, starts, axis)


def _fields(made: Figure, axes: Axes, found: _Map, picture: Picture) -> None:
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.path import Path

    shades, ends = found.levels()
    for level in range(SHADES):
        runs = [Path(_corners(*run)) for run in _runs(shades == level)]
        if runs:
            axes.add_patch(
                PathPatch(
                    Path.make_compound_path(*runs),
                    facecolor=SERIES[0],
                    alpha=_opacity(level, found),
                    linewidth=0,
                )
            )
    if found.written:
        for (row, column), value in np.ndenumerate(found.values):
            if math.isfinite(value):
                axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=9)
    elif ends:
        some = [0, *range(1, SHADES, 2)] if ends[0] != ends[-1] else [0]
        made.legend(
            [Patch(facecolor=SERIES[0], alpha=_opacity(level, found)) for level in some],
            [tick(float(f"{ends[level]:.2g}")) for level in some],
            loc="outside upper left", ncols=len(some), borderaxespad=0, handlelength=1.2,
            columnspacing=1.2, title=shown(picture.y, 64), alignment="left",
        )  # fmt: skip
    if not ends:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center")


def _opacity(level: int, found: _Map) -> float:
    darkest = BESIDE if found.written else DARKEST
    return LIGHTEST + (darkest - LIGHTEST) * level / (SHADES - 1)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Row, first column and last column of each stretch of fields that are all set."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [
        (int(row), int(first), int(last) - 1)
        for (row, first), (_, last) in zip(starts, stops, strict=True)
    ]


def _corners(row: int, first: int, last: int) -> list[tuple[float, float]]:
    left, right, gap = first - 0.5, last + 0.5, 0.47
    return [
        (left, row - gap), (right, row - gap), (right, row + gap), (left, row + gap),
        (left, row - gap),
    ]  # fmt: skip


def _names(axes: Axes, found: _Map, picture: Picture) -> None:
    down, across = len(found.rows), len(found.columns)
    axes.set_xlim(-0.5, max(across, 1) - 0.5)
    axes.set_ylim(max(down, 1) - 0.5, -0.5)
    axes.set_xlabel(shown(picture.x, 64))
    axes.set_ylabel(shown(picture.rows, 40))
    if across:
        places = _places(found.columns, 44)
        letters = max(3, 44 // len(places))
        axes.set_xticks(places, [shown(found.columns[at], letters) for at in places])
    rows = _some(down, 24)
    axes.set_yticks(rows, [shown(found.rows[at], 22) for at in rows])


def _places(words: Sequence[str], letters: int) -> list[int]:
    """Some of the columns, as many as have room side by side."""
    longest = min(max(map(len, words)), 8)
    return _some(len(words), max(2, letters // (longest + 1)))


def _some(count: int, most: int) -> list[int]:
    return list(range(0, count, max(1, math.ceil(count / most))))
