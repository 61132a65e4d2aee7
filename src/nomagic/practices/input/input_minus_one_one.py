"""Squeeze inputs to [-1, 1] instead of subtracting the mean: it is simpler, and does as well.

Bounds are known beforehand, so that deployment needs no file of statistics.

Against: others subtract the mean (LEC98, KRI12, BYU). Nobody claims that it is more accurate: the
claim is that it is no worse. With a norm behind the first layer no difference is expected.

Try: inputs from their least to their largest number in the training data become -1 to 1: feature by
feature for flat inputs, all together for images and waveforms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, InputStep, NotApplicable, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = ("002", "BYU", "LEC98", "KRI12", "CS231")
PROMISE = Promise("as good as subtracting the mean, and simpler", "002", "no difference")
NEAR = 0.02  # of a bound, where it is as good as met


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Inputs from -1 to 1."""
    from nomagic.parts.scaling import bounds, seen

    if not glimpse.raw.is_floating_point():
        yield NotApplicable(f"the inputs are {glimpse.raw.dtype}, no numbers to be scaled")
        return
    low, high = bounds(seen(setup, glimpse))
    if bool(((low + 1).abs() < NEAR).all()) and bool(((high - 1).abs() < NEAR).all()):
        yield NotApplicable("inputs go from -1 to 1: it is followed already")
        return
    step = InputStep("minus-one-one", bounds, squeeze)
    what = f"inputs from {float(low.min()):.3g} … {float(high.max()):.3g} to -1 … 1"
    yield Arm("input-minus-one-one", replace(setup, inputs=(*setup.inputs, step)), what)


def squeeze(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Inputs (…, *shape) with ``low`` at -1 and ``high`` at 1."""
    return 2 * (x - low) / (high - low) - 1
