"""Networks for images: convolutions all the way, their mean over all places, a linear layer.

The first of ``widths`` is that of one convolution at full resolution, or of one that skips along
by ``stem`` pixels; each of the others has a stage of its own, on maps of half the side as long as
there are 8 pixels to halve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from nomagic.parts.presets.blocks import Norm, Residual, conv, halvings, head
from nomagic.parts.presets.kinds import need
from nomagic.words import Form

Stage = Callable[[int, int], list[nn.Module]]
"""The layers of a stage, from the channels that come and those that leave."""


@dataclass(frozen=True)
class ResidualCnn:
    """A small residual network (He et al. 2016): in each stage a 3 x 3 convolution to its width
    and ``blocks`` residual blocks of two.

    With ``zero`` each block starts as the identity (Goyal et al. 2017). A ``stem`` of 2 takes a
    quarter of the time, and without ``blocks`` it is a plain network.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    norm: Norm = "batch"
    zero: bool = True
    dropout: float = 0.0
    stem: int = 1

    def __call__(self, form: Form) -> nn.Module:
        """The network; images (channels, height, width) or (side, side)."""
        need(form, ("image",), "ResidualCnn")
        return _network(form, self.widths, self.norm, self.dropout, self.stage, self.stem)

    def stage(self, channels: int, width: int) -> list[nn.Module]:
        """The layers of one stage."""
        blocks = (Residual(width, 3, self.norm, 2, self.zero) for _ in range(self.blocks))
        return [conv(channels, width, 3, self.norm), *blocks]


@dataclass(frozen=True)
class FireNet:
    """A small SqueezeNet (Iandola et al. 2016): two fire modules a stage.

    Each squeezes the channels with a 1 x 1 convolution, to ``squeeze`` times the stage's width, and
    expands them with 1 x 1 and 3 x 3 ones, half of the width each. Norms, which the original lacks,
    are behind all convolutions.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    squeeze: float = 0.25
    norm: Norm = "batch"
    dropout: float = 0.0

    def __call__(self, form: Form) -> nn.Module:
        """The network; images (channels, height, width) or (side, side)."""
        need(form, ("image",), "FireNet")
        return _network(form, self.widths, self.norm, self.dropout, self.stage)

    def stage(self, channels: int, width: int) -> list[nn.Module]:
        """The layers of one stage."""
        narrow = max(4, round(self.squeeze * width))
        return [Fire(given, narrow, width, self.norm) for given in (channels, width)]


class Fire(nn.Module):
    """A 1 x 1 convolution to few channels, then 1 x 1 and 3 x 3 ones side by side."""

    def __init__(self, channels: int, narrow: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.squeeze = conv(channels, narrow, 1, norm)
        self.one = conv(narrow, width // 2, 1, norm)
        self.three = conv(narrow, width - width // 2, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, channels, height, width) to (n, width, height, width)."""
        x = self.squeeze(x)
        return torch.cat((self.one(x), self.three(x)), -3)


@dataclass(frozen=True)
class SeparableCnn:
    """A small MobileNet (Howard et al. 2017): in place of each 3 x 3 convolution, one on every
    channel alone and a 1 x 1 convolution that mixes them; two such pairs a stage.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    norm: Norm = "batch"
    dropout: float = 0.0

    def __call__(self, form: Form) -> nn.Module:
        """The network; images (channels, height, width) or (side, side)."""
        need(form, ("image",), "SeparableCnn")
        return _network(form, self.widths, self.norm, self.dropout, self.stage)

    def stage(self, channels: int, width: int) -> list[nn.Module]:
        """The layers of one stage."""
        return [
            layer
            for given in (channels, width)
            for layer in (
                conv(given, given, 3, self.norm, groups=given),
                conv(given, width, 1, self.norm),
            )
        ]


def _network(
    form: Form, widths: tuple[int, ...], norm: Norm, dropout: float, stage: Stage, stem: int = 1
) -> nn.Module:
    bare = len(form.shape) == 2
    return nn.Sequential(
        *([nn.Unflatten(1, (1, form.shape[0]))] if bare else []),
        *trunk(1 if bare else form.shape[0], min(form.shape[-2:]), widths, norm, stage, stem),
        *head(widths[-1], form.outputs, 2, dropout),
    )


def trunk(
    channels: int, side: int, widths: tuple[int, ...], norm: Norm, stage: Stage, stem: int = 1
) -> list[nn.Module]:
    """All but the head, for maps of this shortest side."""
    before, halved = halvings(side // stem, len(widths) - 1)
    layers: list[nn.Module] = [conv(channels, widths[0], 2 * stem + 1, norm, stride=stem)]
    layers += [nn.MaxPool2d(2**before)] if before else []
    for (given, width), half in zip(pairwise(widths), halved, strict=True):
        layers += [nn.MaxPool2d(2)] if half else []
        layers += stage(given, width)
    return layers
