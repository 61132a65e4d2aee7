"""Which networks to begin with, from small to large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from nomagic.parts.presets.images import FireNet, ResidualCnn, SeparableCnn
from nomagic.parts.presets.kinds import Kind, kind
from nomagic.parts.presets.plain import Linear, Mlp, TableMlp
from nomagic.parts.presets.signals import AudioCnn, ForecastNet, SignalCnn
from nomagic.parts.presets.text import TextGru, TextTransformer
from nomagic.words import Form

Preset = Callable[[Form], nn.Module]
"""A value that makes a fresh network from the form of the data."""
Widths = tuple[int, ...]


@dataclass(frozen=True)
class Rung:
    """A step of a ladder of networks, in plain words."""

    name: str
    model: Preset


def ladder(form: Form) -> tuple[Rung, ...]:
    """Networks for a form, a linear one first, each larger than the one before.

    Texts begin with recurrent ones, which learn in fewer steps than transformers of their size;
    images of some size with ones that skip every second pixel, which learn in a quarter of the
    time.
    """
    if forecast(form):
        return (LINEAR, *map(_forecast, (16, 64, 256, 1024)))
    if kind(form) == "image" and min(form.shape[-2:]) >= SIZEABLE:
        return (LINEAR, *STRIDED, *LADDERS["image"][3:])
    return (LINEAR, *LADDERS[kind(form)])


def quick(form: Form) -> tuple[Rung, ...]:
    """What is trained well in a tenth of the time that the ladder's first network needs, for where
    there is no more: hidden layers, on small images.
    """
    return (FLAT,) if kind(form) == "image" and form.features <= SMALL_IMAGE else ()


def small(form: Form) -> tuple[Rung, ...]:
    """Networks of few bytes that answer quickly, to choose from by measurement."""
    if forecast(form):
        return tuple(map(_forecast, (8, 32)))
    return tuple(SMALL[kind(form)])


def forecast(form: Form) -> bool:
    """Whether a series is to go on: several numbers are to be told from one."""
    return kind(form) == "series" and form.task == "regression" and form.outputs > 1


def _cnns(make: Callable[..., Preset], word: str, all_widths: Sequence[Widths]) -> list[Rung]:
    """Networks of these widths."""
    return [
        Rung(f"{word}, {widths[0]}-{widths[-1]} channels", make(widths)) for widths in all_widths
    ]


def _strided(make: Callable[..., Preset], word: str) -> tuple[Rung, ...]:
    """Networks without residual blocks that skip every second pixel."""
    return tuple(_cnns(partial(make, blocks=0, stem=2), word, WIDTHS))


def _mlp(width: int, depth: int) -> Rung:
    return Rung(f"{depth} hidden layers of {width}", Mlp(width, depth))


def _table(width: int, depth: int) -> Rung:
    return Rung(f"{depth} hidden layers of {width} on waves of the columns", TableMlp(width, depth))


def _gru(width: int) -> Rung:
    return Rung(f"{width} gated recurrent units", TextGru(width))


def _text(width: int, depth: int, heads: int) -> Rung:
    name = f"transformer, {depth} layers of {width}"
    return Rung(name, TextTransformer(width, depth, heads))


def _forecast(width: int) -> Rung:
    return Rung(f"linear and {width} hidden units", ForecastNet(width))


LINEAR = Rung("linear", Linear())
FLAT = _mlp(256, 2)
SMALL_IMAGE = 4_096
"""Numbers of an image up to which hidden layers on all of them are worth a try."""
GROWING: tuple[Widths, ...] = (
    (8, 16),
    (8, 16, 32),
    (16, 32, 64),
    (32, 64, 128),
    (32, 64, 128, 256),
    (64, 128, 256, 512),
)
SIZEABLE = 24
"""Pixels of the side of an image of which every second may be skipped at first."""
WIDTHS: tuple[Widths, ...] = ((16, 32, 64), (32, 64, 128), (64, 128, 256))
STRIDED = _strided(ResidualCnn, "strided CNN")
NARROW: tuple[Widths, ...] = ((8, 16, 32), (16, 32, 64), (32, 64, 128))
LADDERS: dict[Kind, Sequence[Rung]] = {
    "image": _cnns(ResidualCnn, "residual CNN", GROWING),
    "waveform": (
        *_strided(AudioCnn, "strided CNN on spectrograms"),
        *_cnns(AudioCnn, "residual CNN on spectrograms", GROWING[3:]),
    ),
    "series": _cnns(SignalCnn, "residual CNN along time", GROWING),
    "tokens": (_gru(64), _gru(128), _gru(256), _gru(512), _text(256, 8, 8)),
    "table": (_mlp(32, 2), _table(64, 2), _table(128, 2), _table(256, 2), _table(384, 3)),
    "other": (_mlp(64, 1), _mlp(128, 2), _mlp(256, 2), _mlp(512, 3)),
}
"""The rungs after the linear one."""
SMALL: dict[Kind, Sequence[Rung]] = {
    "image": (
        *_cnns(SeparableCnn, "depthwise separable CNN", NARROW),
        *_cnns(FireNet, "CNN of fire modules", NARROW),
        *LADDERS["image"][:2],
    ),
    "waveform": _cnns(AudioCnn, "residual CNN on spectrograms", GROWING[:2]),
    "series": (LINEAR, *LADDERS["series"][:2]),
    "tokens": (_text(16, 1, 2), _gru(32), _text(32, 2, 2), _gru(64)),
    "table": (LINEAR, _mlp(8, 1), _mlp(16, 2), _mlp(32, 2)),
    "other": (LINEAR, _mlp(16, 1), _mlp(32, 2)),
}
