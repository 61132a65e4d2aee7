"""Pictures as they are seen: one renderer from the data of a `Picture` to an inline SVG.

What it draws is complete in itself and always the same for the same picture. Ink is the colour of
the text around it and series take ``var(--series-1)`` to ``var(--series-6)`` where a page defines
them, so that light and dark both suit; dashes, markers and shades tell series apart without colour.
matplotlib is imported with the first picture, and neither its state nor the user's is touched.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from nomagic.report import heat
from nomagic.report.ink import INK, PAINT, SERIES, shown, tick
from nomagic.report.inline import inline
from nomagic.words import Picture, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

WIDTH, HEIGHT = 440, 264
"""Of a picture, in pixels: small enough that its letters can be read on a phone."""
ROW = 24
"""The height of a bar or an interval that lies, in pixels."""
ROWS = 40
"""More words than this do not lie below each other."""
MOST = 900
"""Values that are drawn, of all series together; of more, the extremes of each stretch."""
LINES = 12
"""Series that are drawn."""
BARS = 60
"""More bars than this are drawn as one outline."""
MARKED = 24
"""A line of no more values than this has markers."""
SIDEWAYS = 44
"""Letters of all words together that still fit below each other's bars."""

DASHES: tuple[LineStyleType, ...] = ("-", "--", "-.", ":", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
SHADES = (0.85, 0.4, 0.65, 0.2, 0.75, 0.3)


class PictureError(ValueError):
    """A picture that cannot be drawn: says which series does not fit together."""


def svg(picture: Picture, key: str = "") -> str:
    """Draw a picture as an ``<svg>`` to stand in a page; a page gives each its own ``key``.

    Raises:
        PictureError: a series has not as many x as y, low and high, or a map holds a line.
    """
    for series in picture.series:
        _fits(series)
    kinds = {series.kind for series in picture.series}
    if "map" in kinds and len(kinds) > 1:
        raise PictureError(f"it has {', '.join(sorted(kinds))}; a map can hold no other series")
    with _style():
        figure = heat.figure(picture, WIDTH) if "map" in kinds else _figure(picture)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    title, desc = shown(picture.title, 200), shown(picture.says, 1000)
    return inline(stream.getvalue(), title, desc, PAINT, key)


# -- the sheet: which way things lie --------------------------------------------------------------


@dataclass(frozen=True)
class _Sheet:
    """Axes, the words along x in order, and whether x runs down instead of across."""

    axes: Axes
    words: tuple[str, ...]
    lies: bool

    @property
    def along(self) -> Axis:
        """The axis of x, wherever it runs."""
        return self.axes.yaxis if self.lies else self.axes.xaxis

    @property
    def up(self) -> Axis:
        """The axis of y."""
        return self.axes.xaxis if self.lies else self.axes.yaxis

    def plot(self, x: Any, y: Any, **style: Any) -> None:
        self.axes.plot(*((y, x) if self.lies else (x, y)), **style)

    def band(self, x: Any, low: Any, high: Any, **style: Any) -> None:
        fill = self.axes.fill_betweenx if self.lies else self.axes.fill_between
        fill(x, low, high, **style)

    def bars(self, x: Any, y: Any, width: float, **style: Any) -> None:
        if self.lies:
            self.axes.barh(x, y, height=width, **style)
        else:
            self.axes.bar(x, y, width=width, **style)

    def intervals(self, x: Any, y: Any, ends: Any, **style: Any) -> None:
        if self.lies:
            self.axes.errorbar(y, x, xerr=ends, **style)
        else:
            self.axes.errorbar(x, y, yerr=ends, **style)


@contextmanager
def _style() -> Generator[None]:
    """The defaults of matplotlib and ours, whatever the user has set, and put back afterwards."""
    from matplotlib import style

    small = 10
    ours = {
        "svg.fonttype": "none",
        "svg.hashsalt": "nomagic",
        "text.parse_math": False,
        "text.color": INK,
        "font.size": small,
        "axes.labelsize": small + 1,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": INK,
        "grid.alpha": 0.13,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.bottom": False,
        "ytick.left": False,
        "legend.fontsize": small,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "errorbar.capsize": 3,
    }
    with style.context(["default", ours]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that are measured in no font of its
        yield


def _figure(picture: Picture) -> Figure:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    words = tuple(dict.fromkeys(one for one in _along(picture) if isinstance(one, str)))
    lies = len(words) <= ROWS and (_compared(picture) or not _stands(words))
    rows = len(words) * max(1, sum(one.kind == "bars" for one in picture.series) * 0.7)
    height = max(HEIGHT / 2, 88 + ROW * rows) if lies else HEIGHT
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    sheet = _Sheet(figure.add_subplot(), words, lies)
    sheet.axes.patch.set_visible(False)
    _scales(sheet, picture)
    _stack(sheet, [one for one in picture.series[:LINES] if one.kind == "stack"])
    for index, series in enumerate(picture.series[:LINES]):
        _draw(sheet, _bounded(_thin(series, picture), picture), index, picture)
    _labels(sheet, picture)
    _legend(figure, sheet, picture)
    return figure


def _stands(words: Sequence[str]) -> bool:
    """Whether the words fit below each other's bars."""
    return sum(len(shown(word)) + 1 for word in words) <= SIDEWAYS


def _compared(picture: Picture) -> bool:
    """Whether it compares intervals, or many values, of things with names: such a picture lies."""
    return any(
        one.kind == "points"
        and (bool(one.low) or len(set(one.x)) < len(one.x))
        and any(isinstance(x, str) for x in one.x)
        for one in picture.series
    )


def _beside(picture: Picture, index: int) -> float:
    """How far intervals of the same word are moved apart, in rows."""
    others = [one for one in picture.series if one.kind == "points" and one.low]
    series = picture.series[index]
    words = {x for x in series.x if isinstance(x, str)}
    alike = [one for one in others if words.intersection(one.x)]
    if series not in alike or len(alike) < 2:
        return 0.0
    return (alike.index(series) - (len(alike) - 1) / 2) * min(0.26, 0.7 / len(alike))


def _along(picture: Picture) -> Iterator[float | str]:
    return chain.from_iterable(series.x for series in picture.series)


def _scales(sheet: _Sheet, picture: Picture) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ways = {"x": (sheet.along, _along(picture)), "y": (sheet.up, _heights(picture))}
    for name, (axis, values) in ways.items():
        positive = [v for v in values if not isinstance(v, str) and 0 < v < math.inf]
        if name in picture.log and positive:
            scale = sheet.axes.set_yscale if axis is sheet.axes.yaxis else sheet.axes.set_xscale
            scale("log", nonpositive="mask")
            axis.set_major_locator(_log_ticks(positive))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def _log_ticks(positive: Sequence[float]) -> Any:
    """Powers of ten; on a short axis twice and five times these, too."""
    from matplotlib.ticker import LogLocator

    short = max(positive) / min(positive) < 300
    return LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,), numticks=7)


def _heights(picture: Picture) -> Iterator[float]:
    for series in picture.series:
        yield from chain(series.y, series.low, series.high)


# -- series ---------------------------------------------------------------------------------------


def _fits(series: Series) -> None:
    lengths = {"x": len(series.x), "y": len(series.y)}
    lengths |= {end: len(getattr(series, end)) for end in ("low", "high") if series.low}
    if len(set(lengths.values())) > 1 or bool(series.low) != bool(series.high):
        said = ", ".join(f"{number} {name}" for name, number in lengths.items())
        raise PictureError(f"the series {shown(series.name)!r} has {said}; they must be as many")


def _thin(series: Series, picture: Picture) -> Series:
    """The series with its share of `MOST` values: the lowest and the highest of each stretch."""
    count, most = len(series.y), MOST // min(len(picture.series), LINES)
    if count <= most:
        return series
    stretch = math.ceil(2 * count / most)
    kept = {0, count - 1}
    for start in range(0, count, stretch):
        inside = range(start, min(start + stretch, count))
        kept |= {min(inside, key=series.y.__getitem__), max(inside, key=series.y.__getitem__)}
    rows = sorted(kept)

    def take(values: Sequence[Any]) -> Any:
        return tuple(values[row] for row in rows) if values else ()

    ends = {"low": take(series.low), "high": take(series.high)}
    return replace(series, x=take(series.x), y=take(series.y), **ends)


def _bounded(series: Series, picture: Picture) -> Series:
    """The series with ends of intervals that are infinite at the edge of what there is."""
    if all(map(math.isfinite, chain(series.low, series.high))):
        return series
    finite = [value for value in _heights(picture) if math.isfinite(value)] or [0.0]
    least, most = min(finite), max(finite)

    def inside(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(min(max(value, least), most) for value in values)

    return replace(series, low=inside(series.low), high=inside(series.high))


def _stack(sheet: _Sheet, stacked: Sequence[Series]) -> None:
    """Draw series on top of each other; all have the x of the first."""
    import numpy as np

    if not stacked:
        return
    known = dict.fromkeys(stacked[0].x, 0.0)
    low = np.zeros(len(known))
    for index, series in enumerate(stacked):
        values = known | dict(zip(series.x, series.y, strict=True))
        high = low + np.nan_to_num([values[x] for x in known])
        ink = index >= len(SERIES)
        sheet.band(
            [float(x) for x in known], low, high, label=shown(series.name), linewidth=0,
            facecolor=INK if ink else SERIES[index], alpha=0.3 if ink else SHADES[2 * (index % 2)],
        )  # fmt: skip
        low = high


def _draw(sheet: _Sheet, series: Series, index: int, picture: Picture) -> None:
    import numpy as np

    if series.kind == "stack":
        return
    places = {word: place for place, word in enumerate(sheet.words)}
    x = np.array([places[one] if isinstance(one, str) else one for one in series.x], float)
    y = np.array([one if math.isfinite(one) else math.nan for one in series.y], float)
    low, high = np.array(series.low, float), np.array(series.high, float)
    draw = {"line": _line, "points": _points, "bars": _bars, "guide": _guide}[series.kind]
    draw(sheet, _Values(x, y, low, high), _Look.of(series, index, picture))


@dataclass(frozen=True)
class _Values:
    """One series as arrays (n,); low and high are empty or (n,)."""

    x: Any
    y: Any
    low: Any
    high: Any

    @property
    def ends(self) -> Any:
        """How far the intervals reach below and above y, (2, n); None without intervals."""
        import numpy as np

        if not len(self.low):
            return None
        return np.nan_to_num(np.stack((self.y - self.low, self.high - self.y)).clip(0))


@dataclass(frozen=True)
class _Look:
    """What a series looks like, by its number, and where its bars stand among others."""

    label: str
    color: str
    dash: LineStyleType
    marker: str
    shade: float
    offset: float
    width: float

    @classmethod
    def of(cls, series: Series, index: int, picture: Picture) -> _Look:
        bars = [one for one in picture.series if one.kind == "bars"]
        width = 0.8 / max(len(bars), 1)
        place = sum(one.kind == "bars" for one in picture.series[:index])
        apart = (place - (len(bars) - 1) / 2) * width
        n = index % len(SERIES)
        return cls(
            label=shown(series.name),
            color=SERIES[n],
            dash=DASHES[n],
            marker=MARKERS[n],
            shade=SHADES[place % len(SHADES)],
            offset=apart if series.kind == "bars" else _beside(picture, index),
            width=width,
        )


def _line(sheet: _Sheet, values: _Values, look: _Look) -> None:
    marker = look.marker if len(values.x) <= MARKED else ""
    if len(values.low):
        sheet.band(values.x, values.low, values.high, color=look.color, alpha=0.16, linewidth=0)
    sheet.plot(
        values.x, values.y, label=look.label, color=look.color, ls=look.dash, marker=marker
    )  # fmt: skip


def _points(sheet: _Sheet, values: _Values, look: _Look) -> None:
    style = {"label": look.label, "color": look.color, "ls": "none", "marker": look.marker}
    if len(values.low):
        sheet.intervals(values.x + look.offset, values.y, values.ends, elinewidth=1.4, **style)
    else:
        sheet.plot(values.x, values.y, **style)


def _bars(sheet: _Sheet, values: _Values, look: _Look) -> None:
    import numpy as np

    paint = {"facecolor": look.color, "alpha": look.shade}
    if len(values.x) > BARS:
        sheet.band(
            values.x, np.zeros_like(values.y), values.y, step="mid", label=look.label, **paint
        )
        return
    apart = np.diff(np.sort(values.x)).min(initial=math.inf)
    scale = apart if 0 < apart < math.inf else 1.0
    x = values.x + look.offset * scale
    sheet.bars(x, values.y, look.width * scale, label=look.label, **paint)
    if len(values.low):
        sheet.intervals(x, values.y, values.ends, ls="none", ecolor=INK, elinewidth=1.1)


def _guide(sheet: _Sheet, values: _Values, look: _Look) -> None:
    sheet.plot(values.x, values.y, label=look.label, color=INK, alpha=0.55, ls="--", linewidth=1.2)


# -- what stands around them ----------------------------------------------------------------------


def _labels(sheet: _Sheet, picture: Picture) -> None:
    sheet.along.set_label_text(shown(picture.x, 64))
    sheet.up.set_label_text(shown(picture.y, 40))
    if not any(map(math.isfinite, _heights(picture))):
        sheet.axes.text(0.5, 0.5, "no values", transform=sheet.axes.transAxes, ha="center")
    if sheet.words:
        places, names = _names(sheet)
        sheet.along.set_ticks(places, names)
        sheet.along.grid(False)
    if sheet.lies:
        sheet.axes.set_ylim(len(sheet.words) - 0.5, -0.5)


def _names(sheet: _Sheet) -> tuple[list[int], list[str]]:
    """Which words stand at the axis and how: some of many, without what all have in common."""
    words = [shown(word, 200) for word in sheet.words]
    if sheet.lies:
        return list(range(len(words))), [shown(word, 26) for word in words]
    if _stands(words):
        return list(range(len(words))), words
    start = _alike(words)
    end = _alike([word[start:][::-1] for word in words])
    places = list(range(0, len(words), math.ceil(len(words) / 6)))
    return places, [shown(words[at][start : len(words[at]) - end], 9) for at in places]


def _alike(words: Sequence[str]) -> int:
    """With how many letters all words begin alike."""
    return sum(
        1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    )


def _legend(figure: Figure, sheet: _Sheet, picture: Picture) -> None:
    if len(picture.series) < 2:
        return
    known = dict(zip(*reversed(sheet.axes.get_legend_handles_labels()), strict=True))
    names = [shown(series.name) for series in picture.series[:LINES]]
    names = [name for name in dict.fromkeys(names) if name in known]
    columns = max(1, min(len(names), 60 // (max(map(len, names), default=0) + 6)))
    more = len(picture.series) > LINES
    figure.legend(
        [known[name] for name in names], names, loc="outside upper left", ncols=columns,
        title=f"the first {LINES} of {len(picture.series)}" if more else None,
        borderaxespad=0, handlelength=2.6, columnspacing=1.4, labelspacing=0.3,
    )  # fmt: skip
