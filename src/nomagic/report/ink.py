"""What all pictures are drawn with: the ink, the colours of series, and names and numbers."""

from __future__ import annotations

from nomagic.report.lines import clean

LETTERS = 44
"""Letters of a name that are shown."""
INK = "#010203"
"""Stands for the colour of the text around a picture."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b5548f", "#a06c00", "#5b5f97")
"""After Okabe and Ito, darkened to a contrast of 3 : 1 on white: colour-blind people tell them
apart.
"""
PAINT = {INK: "currentColor"} | {
    color: f"var(--series-{place}, {color})" for place, color in enumerate(SERIES, 1)
}
"""What stands in a page for each colour."""


def tick(value: float) -> str:
    """A number on an axis: 0.5, 1,000, 2e+06."""
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.4g}"


def shown(name: str, letters: int = LETTERS) -> str:
    """A name on one line, without what could break it, and not too long."""
    plain = " ".join(clean(name).plain.split())
    return plain if len(plain) <= letters else f"{plain[: letters - 1]}…"
