"""What data are, told from their form: images, waveforms, series, tokens or tables."""

from __future__ import annotations

from typing import Literal

from nomagic.words import Form

Kind = Literal["image", "waveform", "series", "tokens", "table", "other"]
"""Images are (channels, height, width) or (side, side), waveforms (channels, samples) from
`LONG` samples on, series the same when shorter, tokens whole numbers (length,), tables (columns,).
"""
LONG = 1_024
"""Samples of the shortest waveform."""
SMALLEST = 8
"""Pixels of the side of the smallest image."""


class UnfitError(ValueError):
    """A network that cannot serve a form: says what came, what was expected and what to do."""


def kind(form: Form) -> Kind:
    """What the data are."""
    if form.tokens:
        return "tokens" if len(form.shape) == 1 else "other"
    if len(form.shape) == 2:
        return _lines(*form.shape)
    image = len(form.shape) == 3 and min(form.shape[1:]) >= SMALLEST
    return "image" if image else "table" if len(form.shape) < 2 else "other"


def _lines(first: int, last: int) -> Kind:
    if first == last and first >= SMALLEST:
        return "image"
    return "waveform" if last >= LONG else "series"


def need(form: Form, served: tuple[Kind, ...], name: str) -> None:
    """Raise `UnfitError` unless the data are of a kind that the network serves."""
    if kind(form) not in served:
        given = f"{form.tokens} tokens" if form.tokens else "numbers"
        raise UnfitError(
            f"{name} serves {' and '.join(PLURALS[one] for one in served)}; inputs are {given} of "
            f"shape {form.shape}: {ADVICE.get(kind(form), 'take Mlp, or a network of your own')}"
        )


PLURALS: dict[Kind, str] = {
    "image": f"images (channels, height, width) of at least {SMALLEST} x {SMALLEST} pixels",
    "waveform": f"waveforms (channels, samples) of at least {LONG} samples",
    "series": "series (columns, length)",
    "tokens": "tokens (length,)",
    "table": "tables (columns,)",
    "other": "inputs of any shape",
}
ADVICE: dict[Kind, str] = {
    "image": "take ResidualCnn",
    "waveform": "take AudioCnn",
    "series": "take SignalCnn",
    "tokens": "take TextTransformer",
    "table": "take TableMlp",
}
