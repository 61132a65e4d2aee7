"""What all text reports share: a console that suits its stream, and lines with a hanging indent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from rich.console import Console
from rich.text import Text

NARROW = 28
"""A text that has fewer columns beside its label stands below it."""
WIDEST = 110
"""Beyond this many columns the eye loses the line."""


class Glyphs(NamedTuple):
    """The signs of a report, in what the stream can encode."""

    fault: str = "✖"
    warning: str = "▲"
    note: str = "·"
    dot: str = "·"
    tick: str = "✓"


PLAIN = Glyphs("x", "!", "-", "-", "+")
SPELT = str.maketrans(
    {"…": "...", "–": "-", "—": "-", "−": "-", "·": "-", "×": "x", "±": "+-", "→": "->",
     "≤": "<=", "≥": ">=", "≈": "about ", "’": "'", "“": '"', "”": '"', "∞": "infinity"}
)  # fmt: skip
"""How signs are written where a stream has letters only."""


def console(stream: TextIO | None = None, **options: Any) -> Console:
    """A console that prints what users wrote as they wrote it: no markup, no emoji codes.

    NO_COLOR, FORCE_COLOR and COLUMNS are honoured; what cannot be encoded is replaced. In a
    notebook, too, it writes to its stream, and not into the cell, where each line would be an
    output of its own.
    """
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="replace")
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    return Console(file=stream, force_jupyter=False, **plain, **options)


def glyphs(console: Console) -> Glyphs:
    """The signs that this console can show."""
    try:
        "".join(Glyphs()).encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return Glyphs()


def spelt(value: str, console: Console) -> str:
    """Text in signs that this console can show."""
    return value if glyphs(console) is not PLAIN else value.translate(SPELT)


def clean(value: str, style: str = "") -> Text:
    """Text from outside, without what could steer a terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in value), style)


def hang(console: Console, indent: str, label: str, body: Text) -> Iterator[Text]:
    """Wrap a body beside its label, or below where that is narrow; lines hang below the first."""
    if label.strip() and min(console.width, WIDEST) - len(indent) - len(label) < NARROW:
        yield Text.assemble(indent, (label.rstrip(), "dim"))
        indent, label = f"{indent}   ", ""
    width = max(min(console.width, WIDEST) - len(indent) - len(label), 10)
    for index, line in enumerate(body.wrap(console, width, overflow="fold")):
        line.rstrip()
        first = Text.assemble(indent, (label, "dim")) if index == 0 else None
        yield (first or Text(indent + " " * len(label))) + line


def apart(console: Console, left: Text, right: Text) -> Iterator[Text]:
    """Two texts at both ends of a line, or of two lines where one is too short."""
    gap = min(console.width, WIDEST) - left.cell_len - right.cell_len
    if not right or gap >= 2:
        yield left + Text(" " * gap) + right if right else left
        return
    yield from hang(console, "", "", left)
    yield from hang(console, "   ", "", right)


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 fault, 2 faults."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """A time for people: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
