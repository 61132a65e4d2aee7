"""Inputs that are a little, and then very, different from those of the training.

Each kind of input has the shifts that it meets in the wild, at growing severity: images get noise,
move, turn, blur and fade; sound gets noise, comes late, is quieter or faster; columns of tables
get noise or are missing; series get noise; tokens are replaced. Inputs are the raw ones, before
any input step. The idea is that of ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261);
the severities are ours, and relative to what is given: to the range, the size, the deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.engine.draws import generator, stream
from nomagic.words import Form

Kind = Literal["image", "audio", "series", "table", "text"]
WAVE = 1_024
"""Numbers in one channel from which on a signal is a sound, not a series."""
FEW = 20
"""Whole numbers of at most so many values are codes, which noise replaces by other rows' codes."""
FRAME = 4
"""Pixels that an image has at least in both directions."""

Change = Callable[[Tensor, float, torch.Generator], Tensor]
Words = Callable[[Tensor, float], str]


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """Shifted inputs (n, *shape): the name of the shift, its severity from 1 on, what it means."""

    name: str
    severity: int
    amount: str
    x: Tensor


def kind(form: Form) -> Kind:
    """What kind of input a form describes."""
    if form.tokens:
        return "text"
    if len(form.shape) in (2, 3) and min(form.shape[-2:]) >= FRAME and _square(form.shape):
        return "image"
    if len(form.shape) == 2:
        return "audio" if form.shape[-1] >= WAVE else "series"
    return "table" if len(form.shape) == 1 else "series"


def _square(shape: tuple[int, ...]) -> bool:
    """Whether it is an image: two dimensions are one only where they are equal."""
    return len(shape) == 3 or shape[0] == shape[1]


def shifts(form: Form, x: Tensor, seed: int = 0) -> Iterator[Shift]:
    """Every shift of these inputs at every severity, mildest first; the same for the same seed.

    Args:
        form: what one input is.
        x: raw inputs (n, *shape).
        seed: of the noise, the directions and the columns.
    """
    for name, (change, amounts, words) in SHIFTS[kind(form)].items():
        different = {words(x, amount): amount for amount in reversed(amounts)}
        for severity, told in enumerate(reversed(different), 1):
            random = generator(stream(seed, f"{name} {severity}"))
            yield Shift(name, severity, told, change(x, different[told], random))


# -- images (n, channels, height, width) or (n, height, width) ----------------------------------


def _as_images(
    change: Callable[[Tensor, float, torch.Generator], Tensor],
    x: Tensor,
    amount: float,
    random: torch.Generator,
) -> Tensor:
    """A change of (n, channels, height, width) for images without channels too."""
    images = x if x.ndim == 4 else x[:, None]
    return change(images, amount, random).reshape(x.shape)


def _noise(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Normal noise, a share of the range; what leaves the range is cut."""
    low, high = x.amin(), x.amax()
    return (x + amount * (high - low) * _normal(x, random)).clamp(low, high)


def _pixels(x: Tensor, amount: float) -> int:
    return max(1, round(amount * x.shape[-1]))


def _move(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Each image moves along one of eight directions; its border is repeated."""
    pixels = _pixels(x, amount)
    padded = F.pad(x, (pixels,) * 4, mode="replicate")
    high, wide = x.shape[-2:]
    steps = [(i, j) for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
    chosen = torch.randint(len(steps), (len(x),), generator=random).tolist()
    moved = [
        image[:, pixels * i : pixels * i + high, pixels * j : pixels * j + wide]
        for image, (i, j) in zip(padded, (steps[c] for c in chosen), strict=True)
    ]
    return torch.stack(moved)


def _turn(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Each image turns by so many degrees, to the left or to the right."""
    sign = 2 * torch.randint(2, (len(x),), generator=random) - 1
    angle = sign * math.radians(amount)
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros(len(x))
    ratio = x.shape[-2] / x.shape[-1]
    matrix = torch.stack([cos, -sin * ratio, none, sin / ratio, cos, none], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(matrix.to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _blur(x: Tensor, amount: float, _: torch.Generator) -> Tensor:
    """A Gaussian whose deviation is a share of the width."""
    deviation = amount * x.shape[-1]
    reach = min(math.ceil(3 * deviation), min(x.shape[-2:]) - 1)
    places = torch.arange(-reach, reach + 1, dtype=x.dtype)
    weights = torch.exp(-0.5 * (places / deviation) ** 2)
    weights = weights / weights.sum()
    flat = F.pad(x.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    flat = F.conv2d(F.conv2d(flat, weights.reshape(1, 1, 1, -1)), weights.reshape(1, 1, -1, 1))
    return flat.reshape(x.shape)


def _fade(x: Tensor, amount: float, _: torch.Generator) -> Tensor:
    """The contrast of each image, to the share that is left of it."""
    mean = x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
    return mean + amount * (x - mean)


# -- sound (n, channels, samples) ----------------------------------------------------------------


def _hiss(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Normal noise of so many decibels below each recording."""
    power = x.square().mean(dim=(1, 2), keepdim=True)
    return x + (power * 10 ** (-amount / 10)).sqrt() * _normal(x, random)


def _late(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Each recording comes later or earlier by a share of its length, with silence instead."""
    length, steps = x.shape[-1], round(amount * x.shape[-1])
    padded = F.pad(x, (steps, steps))
    starts = (2 * steps * torch.randint(2, (len(x),), generator=random)).tolist()
    moved = zip(padded, starts, strict=True)
    return torch.stack([wave[:, start : start + length] for wave, start in moved])


def _gain(x: Tensor, amount: float, _: torch.Generator) -> Tensor:
    return x * 10 ** (-amount / 20)


def _fast(x: Tensor, amount: float, _: torch.Generator) -> Tensor:
    """So many times as fast, and as high; silence follows."""
    length = x.shape[-1]
    short = F.interpolate(x, size=round(length / amount), mode="linear", align_corners=False)
    return F.pad(short, (0, length - short.shape[-1]))


# -- tables (n, columns), series (n, …) and tokens (n, length) -------------------------------------


def _shaken(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Noise of so many deviations of each column; codes come from another row so often."""
    noisy = x + amount * x.std(0) * _normal(x, random)
    other = x[torch.randint(len(x), x.shape, generator=random), torch.arange(x.shape[1])]
    taken = torch.rand(x.shape, generator=random) < amount
    codes = torch.tensor([_code(column) for column in x.T])
    return torch.where(codes, torch.where(taken, other, x), noisy)


def _code(column: Tensor) -> bool:
    return bool((column == column.round()).all()) and len(column.unique()) <= FEW


def _columns(x: Tensor, amount: float) -> int:
    return max(1, round(amount * x.shape[1]))


def _missing(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """A share of the columns, drawn for each row, has its mean (codes: the most frequent one)."""
    usual = [column.mode().values if _code(column) else column.mean() for column in x.T]
    count = _columns(x, amount)
    lost = torch.rand(x.shape, generator=random).argsort(1) < count
    return torch.where(lost, torch.stack(usual), x)


def _jitter(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """Noise of so many deviations of each channel over all samples and times."""
    dims = (0, *range(2, x.ndim)) if x.ndim > 2 else (0,)
    return x + amount * x.std(dim=dims, keepdim=True) * _normal(x, random)


def _typos(x: Tensor, amount: float, random: torch.Generator) -> Tensor:
    """A share of the tokens is replaced by any of those that occur."""
    known = x.unique()
    other = known[torch.randint(len(known), x.shape, generator=random)]
    return torch.where(torch.rand(x.shape, generator=random) < amount, other, x)


def _normal(x: Tensor, random: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=random).to(x)


def _share(of: str, _: Tensor, amount: float) -> str:
    return f"{100 * amount:.0f} % of the {of}"


def _plainly(text: str, _: Tensor, amount: float) -> str:
    return text.format(amount)


def _in_pixels(x: Tensor, amount: float) -> str:
    count = _pixels(x, amount)
    return f"{count} pixel{'s' * (count > 1)}"


def _in_columns(x: Tensor, amount: float) -> str:
    return f"{_columns(x, amount)} of {x.shape[1]} columns"


DEVIATIONS = partial(_plainly, "{:g} of a standard deviation")

SHIFTS: dict[Kind, dict[str, tuple[Change, tuple[float, ...], Words]]] = {
    "image": {
        "noise": (_noise, (0.05, 0.1, 0.2, 0.4), partial(_share, "range")),
        "move": (partial(_as_images, _move), (1 / 16, 1 / 8, 1 / 4), _in_pixels),
        "turn": (partial(_as_images, _turn), (15.0, 30.0, 60.0), partial(_plainly, "{:g} degrees")),
        "blur": (partial(_as_images, _blur), (1 / 32, 1 / 16, 1 / 8), partial(_share, "width")),
        "fade": (_fade, (0.5, 0.25, 0.1), partial(_share, "contrast")),
    },
    "audio": {
        "noise": (_hiss, (20.0, 10.0, 0.0), partial(_plainly, "{:g} dB below the signal")),
        "move": (_late, (0.05, 0.1, 0.25), partial(_share, "length")),
        "gain": (_gain, (6.0, 12.0, 24.0), partial(_plainly, "{:g} dB quieter")),
        "speed": (_fast, (1.1, 1.25, 1.5), partial(_plainly, "{:g} times as fast")),
    },
    "table": {
        "noise": (_shaken, (0.1, 0.3, 1.0), DEVIATIONS),
        "missing": (_missing, (0.1, 0.25, 0.5), _in_columns),
    },
    "series": {"noise": (_jitter, (0.1, 0.3, 1.0), DEVIATIONS)},
    "text": {"typos": (_typos, (0.05, 0.15, 0.4), partial(_share, "tokens"))},
}
"""The shifts of each kind of input: what is done, how much, mildest first, and how that is told.

Amounts that are told alike, such as moves by one pixel, are made once.
"""
