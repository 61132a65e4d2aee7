"""Inputs that differ a little each time they are seen: a layer that works while training only.

Every step takes a batch of images (n, …, height, width) or waveforms (n, …, samples) wherever they
are, draws for each sample on its own, and keeps shape, type and meaning: labels stay what they are.
Numbers come from `nomagic.parts.chance`, and no shape depends on them, so that many networks train
side by side under `torch.vmap`. Strengths are relative to the sample's own deviation, so that they
hold for pixels in [0, 1] and for standardised inputs alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.parts.chance import normal, uniform
from nomagic.parts.presets.kinds import kind
from nomagic.words import Form

Step = Callable[[Tensor], Tensor]
"""From a batch of inputs to the same, varied."""


class Augment(nn.Module):
    """The steps, one after the other, in training mode; in evaluation mode nothing is done."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = tuple(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Vary a batch of inputs."""
        if self.training:
            for step in self.steps:
                x = step(x)
        return x

    def extra_repr(self) -> str:
        """The steps, as printed."""
        return ", ".join(map(repr, self.steps))


def augmented(model: nn.Module, sample: Tensor, steps: Sequence[Step]) -> nn.Module:
    """The network behind a layer that varies its inputs; for `nomagic.words.Edit`.

    Raises:
        ValueError: inputs are tokens, or a step cannot work on them.
    """
    if not sample.is_floating_point():
        raise ValueError(f"inputs are {sample.dtype} tokens; only numbers can be varied a little")
    layer = Augment(steps)
    layer(sample)
    return nn.Sequential(layer, model)


def varied(model: nn.Module, *kinds: type) -> bool:
    """Whether a network has a layer that varies its inputs by a step of one of these kinds."""
    layers = [module for module in model.modules() if isinstance(module, Augment)]
    return any(isinstance(step, kinds) for layer in layers for step in layer.steps)


def sensible(form: Form, x: Tensor) -> tuple[Step, ...]:
    """Steps that hardly ever change what an input means; none where none are known.

    Images are shifted by up to an eighth, photos mirrored as well; waveforms are shifted in time
    and made louder or softer. Whether they pay is for a trial to say.

    Args:
        form: what a model must fit.
        x: some of the inputs (n, *shape).
    """
    what = kind(form)
    if what == "image":
        shift = Shift(max(1, min(form.shape[-2:]) // 8))
        return (Flip(), shift) if photos(form, x) else (shift,)
    return (TimeShift(), Gain()) if what == "waveform" else ()


def photos(form: Form, x: Tensor) -> bool:
    """Whether images (n, *shape) may be mirrored: they are photos, and not of letters or digits.

    Photos have three channels that differ, and no large areas of one colour; classes whose names
    are single characters are letters or digits.
    """
    if len(form.shape) != 3 or form.shape[0] != 3 or min(form.shape[1:]) < 16:
        return False
    if form.labels and all(len(label) == 1 for label in form.labels):
        return False
    flat = (x[..., 1:] == x[..., :-1]).all(1).float().mean()
    grey = (x[:, 0] == x[:, 1]).float().mean()
    return bool(flat < FLAT) and bool(grey < GREY)


FLAT = 0.5
"""Share of pixels equal to their neighbour in all channels, from which images are no photos."""
GREY = 0.9
"""Share of pixels whose channels are equal, from which images are grey."""


# -- images ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flip:
    """Mirror images left to right, each with probability ``p``."""

    p: float = 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, some of it mirrored."""
        return torch.where(_chosen(x, self.p), x.flip(-1), x)


@dataclass(frozen=True)
class Shift:
    """Move images by up to so many pixels in both directions; the border is mirrored."""

    pixels: int = 4

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each image moved."""
        if self.pixels >= min(x.shape[-2:]):
            raise ValueError(
                f"Shift({self.pixels}) moves images of {x.shape[-2]} x {x.shape[-1]} out of sight; "
                f"expected less than {min(x.shape[-2:])} pixels"
            )
        for dim in (-2, -1):
            by = (_each(x) * (2 * self.pixels + 1)).floor() - self.pixels
            x = x.gather(dim, _mirrored(_places(x, dim) + by.long(), x.shape[dim]).expand_as(x))
        return x


@dataclass(frozen=True)
class Affine:
    """Turn images by up to so many degrees and scale them by up to a factor 1 ± ``scale``.

    Bilinear; the border is mirrored.
    """

    degrees: float = 10.0
    scale: float = 0.1

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each image turned and scaled."""
        images = x.reshape(len(x), -1, *x.shape[-2:])
        high, wide = x.shape[-2:]
        angle = _between(images, -self.degrees, self.degrees)[:, 0] * (math.pi / 180)
        zoom = 1 / (1 + _between(images, -self.scale, self.scale)[:, 0])
        down = _places(images, -2)[:, 0].to(x.dtype) - (high - 1) / 2
        right = _places(images, -1)[:, 0].to(x.dtype) - (wide - 1) / 2
        across = zoom * (angle.cos() * right - angle.sin() * down) * (2 / wide)
        along = zoom * (angle.sin() * right + angle.cos() * down) * (2 / high)
        grid = torch.stack((across, along), -1)
        found = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        return found.reshape(x.shape)


@dataclass(frozen=True)
class ColourJitter:
    """Change brightness (in deviations), contrast and saturation (as factors 1 ± so much).

    Saturation is the distance of the channels from their mean; grey images have none.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each image in other colours."""
        images = x.reshape(len(x), -1, *x.shape[-2:])
        mean = _mean(images)
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * (1 + self._by(images, self.saturation))
        by = self._by(images, self.brightness) * _deviation(images)
        images = mean + (images - mean) * (1 + self._by(images, self.contrast)) + by
        return images.reshape(x.shape)

    def _by(self, x: Tensor, most: float) -> Tensor:
        return _between(x, -most, most)


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise, of up to so many deviations of the sample."""

    most: float = 0.1

    def __call__(self, x: Tensor) -> Tensor:
        """The batch with noise."""
        return x + normal(tuple(x.shape), x) * _between(x, 0, self.most) * _deviation(x)


@dataclass(frozen=True)
class Blur:
    """Blur images with a Gaussian of a width between two numbers of pixels, with probability
    ``p``; the border is repeated.
    """

    least: float = 0.1
    most: float = 1.5
    p: float = 0.3

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, some of it blurred."""
        images = x.reshape(len(x), -1, *x.shape[-2:])
        width = _between(images, self.least, self.most)
        reach = math.ceil(2 * self.most)
        taps = range(2 * reach + 1)
        weights = torch.stack([(-0.5 * ((k - reach) / width) ** 2).exp() for k in taps])
        weights = weights / weights.sum(0)
        high, wide = x.shape[-2:]
        padded = F.pad(images, (reach,) * 4, mode="replicate")
        rows = (weights * torch.stack([padded[..., k : k + high, :] for k in taps])).sum(0)
        both = (weights * torch.stack([rows[..., k : k + wide] for k in taps])).sum(0)
        return torch.where(_chosen(x, self.p), both.reshape(x.shape), x)


@dataclass(frozen=True)
class Erase:
    """Hide a square of up to this share of the shorter side behind the mean colour, with
    probability ``p`` (DeVries & Taylor 2017).
    """

    share: float = 0.5
    p: float = 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, some images with a hidden square."""
        side = (_each(x) * self.share * min(x.shape[-2:])).ceil()
        hidden = _chosen(x, self.p)
        for dim in (-2, -1):
            start = (_each(x) * (x.shape[dim] - side + 1)).floor()
            place = _places(x, dim)
            hidden = hidden & (place >= start) & (place < start + side)
        return torch.where(hidden, x.mean((-2, -1), keepdim=True), x)


@dataclass(frozen=True)
class DropPixels:
    """Replace pixels by the mean colour, each with probability ``p``, in all channels at once."""

    p: float = 0.05

    def __call__(self, x: Tensor) -> Tensor:
        """The batch without some pixels."""
        shape = (len(x), *(1,) * (x.ndim - 3), *x.shape[-2:])
        return torch.where(uniform(shape, x) < self.p, x.mean((-2, -1), keepdim=True), x)


# -- waveforms -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimeShift:
    """Move waveforms by up to this share of their length; silence comes in."""

    share: float = 0.1

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each waveform moved."""
        by = (_between(x, -self.share, self.share) * x.shape[-1]).round().long()
        return _read(x, _places(x, -1) + by)


@dataclass(frozen=True)
class Speed:
    """Play waveforms faster or slower, by a factor 1 ± ``most``, from their beginning; pitch moves
    along (Ko et al. 2015). Samples in between are interpolated.
    """

    most: float = 0.1

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each waveform at another speed."""
        place = _places(x, -1) * (1 + _between(x, -self.most, self.most))
        below = place.floor()
        part = place - below
        return _read(x, below.long()) * (1 - part) + _read(x, below.long() + 1) * part


@dataclass(frozen=True)
class Gain:
    """Make inputs louder or softer by up to so many decibels."""

    decibels: float = 6.0

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each at another loudness."""
        return x * 10 ** (_between(x, -self.decibels, self.decibels) / 20)


@dataclass(frozen=True)
class Hiss:
    """Add white noise to waveforms, between two numbers of decibels below the signal."""

    least: float = 10.0
    most: float = 30.0

    def __call__(self, x: Tensor) -> Tensor:
        """The batch with noise."""
        level = 10 ** (-_between(x, self.least, self.most) / 20)
        return x + normal(tuple(x.shape), x) * level * _loudness(x)


@dataclass(frozen=True)
class TimeMask:
    """Silence a piece of up to this share of a waveform."""

    share: float = 0.1

    def __call__(self, x: Tensor) -> Tensor:
        """The batch, each with a silence."""
        length = (_each(x) * self.share * x.shape[-1]).ceil()
        start = (_each(x) * (x.shape[-1] - length + 1)).floor()
        place = _places(x, -1)
        return torch.where((place >= start) & (place < start + length), 0, x)


# -- what steps are made of ------------------------------------------------------------------------


def _each(x: Tensor) -> Tensor:
    """A number in [0, 1) for each sample, to be broadcast against the batch."""
    return uniform((len(x), *(1,) * (x.ndim - 1)), x)


def _between(x: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * _each(x)


def _chosen(x: Tensor, p: float) -> Tensor:
    return _each(x) < p


def _places(x: Tensor, dim: Literal[-2, -1]) -> Tensor:
    """0, 1, 2, … along a dimension, to be broadcast against the batch."""
    places = torch.arange(x.shape[dim], device=x.device)
    return places.reshape((1,) * (x.ndim + dim) + (-1,) + (1,) * (-1 - dim))


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places outside, mirrored at the first or the last one."""
    return (size - 1) - ((size - 1) - place.abs()).abs()


def _read(x: Tensor, place: Tensor) -> Tensor:
    """What stands at these places of waveforms, and silence outside."""
    last = x.shape[-1] - 1
    found = x.gather(-1, place.clamp(0, last).expand_as(x))
    return torch.where((place >= 0) & (place <= last), found, 0)


def _others(x: Tensor) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _mean(x: Tensor) -> Tensor:
    return x.mean(_others(x), keepdim=True)


def _deviation(x: Tensor) -> Tensor:
    return (x - _mean(x)).square().mean(_others(x), keepdim=True).sqrt()


def _loudness(x: Tensor) -> Tensor:
    return x.square().mean(_others(x), keepdim=True).sqrt()
