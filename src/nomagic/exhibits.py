"""One input of a setup as people see, hear or read it: a picture, a sound or a text."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nomagic.parts.presets.kinds import kind
from nomagic.words import Exhibit, Form

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 128
"""Pixels of the longer side of a picture, at most; larger ones are made smaller."""
HEARD = 80_000
"""Bytes of a sound, at most; longer ones are cut."""
RATE = 8_000
"""Samples a second of a waveform whose rate is not known."""
LETTERS = 300
"""Letters of a text that are shown."""
COLUMNS = 8
"""Columns of a table row, or lines of a series, that are shown."""
POINTS = 30
"""Signs of a line that is drawn with blocks."""
BLOCKS = "▁▂▃▄▅▆▇█"
STRANGE = (255, 0, 255)
"""The colour of pixels that are no finite number."""


def exhibit(
    x: Tensor,
    form: Form,
    caption: str,
    names: Sequence[str] = (),
    *,
    rate: int = 0,
    span: tuple[float, float] | None = None,
) -> Exhibit:
    """One input as an exhibit.

    Images (channels, height, width) or (side, side) become a PNG: what is not finite is magenta.
    Waveforms (channels, samples) become a WAV of 16 bits with its channels averaged and its peak
    at full scale. Everything else is told: tokens as their text, columns with their names, the
    lines of a series drawn with blocks.

    Args:
        x: one input, of ``form.shape``.
        form: of the inputs.
        caption: what stands below it.
        names: of the columns of a table, or of the lines of a series.
        rate: samples a second of a waveform, where known; else `RATE`.
        span: the values that are black and white in an image. By default 0 and 1 where the image
            lies within, else its own least and largest.
    """
    x = x.detach().cpu()
    what = kind(form)
    if what == "image":
        return _image(x.double().reshape(-1, *x.shape[-2:]), caption, span)
    if what == "waveform":
        return _sound(x.double().mean(0), caption, rate)
    if what == "tokens":
        return Exhibit(caption, "text", text=tokens(x, form))
    return Exhibit(caption, "text", text=_numbers(x.double(), tuple(names)))


def tokens(x: Tensor, form: Form) -> str:
    """Tokens (length,) as the text that they stand for, or as numbers where that is not known."""
    codes: list[int] = x.flatten().tolist()
    words = [form.labels[code] if code < len(form.labels) else str(code) for code in codes]
    short = max(map(len, words), default=0) <= 1
    return _cut(("" if short else " ").join(words))


def sparkline(values: Tensor, points: int = POINTS) -> str:
    """Numbers (n,) as a line of blocks, lowest to highest; "·" is what is not finite."""
    import torch

    if not values.numel():
        return ""
    pieces = torch.stack(
        [piece.mean() for piece in values.double().tensor_split(points) if len(piece)]
    )
    finite = pieces[pieces.isfinite()]
    if not len(finite):
        return "·" * len(pieces)
    least, height = float(finite.min()), float(finite.max() - finite.min())
    top = len(BLOCKS) - 1
    return "".join(
        BLOCKS[round(top * (one - least) / height) if height else 0] if math.isfinite(one) else "·"
        for one in pieces.tolist()
    )


# -- images ---------------------------------------------------------------------------------------


def _image(x: Tensor, caption: str, span: tuple[float, float] | None) -> Exhibit:
    finite = x.isfinite()
    known = x[finite]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    dark, light = span or ((0.0, 1.0) if 0 <= least <= most <= 1 else (least, most))
    scaled = ((x.nan_to_num(dark) - dark) / ((light - dark) or 1.0)).clamp(0, 1)
    high, wide = x.shape[-2:]
    said = f"{wide} × {high} pixels from {least:.3g} to {most:.3g}"
    if not bool(finite.all()):
        said += f", {int((~finite).sum()):,} not finite"
    return Exhibit(caption, "image", _png(scaled, (~finite).any(0)), said)


def _png(scaled: Tensor, strange: Tensor) -> bytes:
    """Values in [0, 1] of shape (channels, height, width) as a PNG; any but 3 channels are grey."""
    import torch
    from PIL import Image

    colours = scaled if len(scaled) in (3, 4) else scaled.mean(0, keepdim=True)
    pixels = (colours[:3].expand(3, -1, -1) * 255).round().to(torch.uint8)
    pixels[:, strange] = torch.tensor(STRANGE, dtype=torch.uint8)[:, None]
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy(), "RGB")
    if bool((pixels == pixels[:1]).all()):
        picture = picture.convert("L")
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


# -- sounds ---------------------------------------------------------------------------------------


def _sound(x: Tensor, caption: str, rate: int) -> Exhibit:
    import torch

    heard = x[: HEARD // 2].nan_to_num(0.0, 0.0, 0.0)
    peak = float(heard.abs().max())
    whole = (heard / (peak or 1.0) * 32_767).round().to(torch.int16)
    speed = rate or RATE
    said = f"{sparkline(_loudness(x))}\n{len(x) / speed:.2g} s"
    if not rate:
        said += f", played at {speed:,} samples a second"
    if len(heard) < len(x):
        said += f", of which {len(heard) / speed:.2g} s are heard"
    return Exhibit(caption, "sound", wav(whole, speed), said)


def _loudness(x: Tensor) -> Tensor:
    """The peak of each of `POINTS` pieces of a waveform."""
    import torch

    return torch.stack([piece.abs().max() for piece in x.tensor_split(POINTS) if len(piece)])


def wav(samples: Tensor, rate: int) -> bytes:
    """Samples (n,) int16 as a WAV file of one channel."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.numpy().astype("<i2").tobytes())
    return out.getvalue()


# -- texts ----------------------------------------------------------------------------------------


def _numbers(x: Tensor, names: tuple[str, ...]) -> str:
    """A row of a table, or the lines of a series, each with its name."""
    lines = x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(-1, 1)
    called = names if len(names) == len(lines) else tuple(map(str, range(1, len(lines) + 1)))
    told = [f"{name}: {_line(line)}" for name, line in zip(called[:COLUMNS], lines, strict=False)]
    more = len(lines) - COLUMNS
    return "\n".join(told + ([f"and {more:,} more"] if more > 0 else []))


def _line(values: Tensor) -> str:
    if len(values) == 1:
        return f"{float(values[0]):.4g}"
    return f"{sparkline(values)} {float(values.min()):.3g} … {float(values.max()):.3g}"


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"
