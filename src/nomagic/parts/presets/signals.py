"""Networks for waveforms and for other series of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.parts import nets
from nomagic.parts.presets.blocks import Norm, Residual, conv, halvings, head, linear
from nomagic.parts.presets.images import ResidualCnn, trunk
from nomagic.parts.presets.kinds import need
from nomagic.words import Form

BREAK = 700.0
"""Hertz up to which ears hear differences in hertz, above in octaves: the mel scale."""


@dataclass(frozen=True)
class AudioCnn:
    """A residual network on the log-mel spectrogram of waveforms, which it computes itself, and on
    the same without the mean of each band, which another voice or microphone moves.

    ``rate`` is in samples a second, which the form does not tell; windows have 32 ms and half of
    them overlaps. Frames are averaged so that at most ``frames`` remain.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    norm: Norm = "batch"
    zero: bool = True
    dropout: float = 0.0
    rate: int = 8_000
    bands: int = 32
    frames: int = 128
    stem: int = 1

    def __call__(self, form: Form) -> nn.Module:
        """The network; waveforms (channels, samples)."""
        need(form, ("waveform",), "AudioCnn")
        channels, samples = form.shape
        window = min(2 ** round(math.log2(0.032 * self.rate)), samples // 4)
        count = (samples - window) // (window // 2) + 1
        pooled = -(-count // self.frames)
        stage = ResidualCnn(self.widths, self.blocks, self.norm, self.zero).stage
        side = min(self.bands, count // pooled)
        return nn.Sequential(
            LogSpectrum(window, self.rate, self.bands),
            *([nn.AvgPool2d((1, pooled))] if pooled > 1 else []),
            Centred(),
            nn.BatchNorm2d(2 * channels),
            *trunk(2 * channels, side, self.widths, self.norm, stage, self.stem),
            *head(self.widths[-1], form.outputs, 2, self.dropout),
        )


class Centred(nn.Module):
    """Maps (n, channels, bands, frames), and behind them the same less their means over time."""

    def forward(self, x: Tensor) -> Tensor:
        """From (n, channels, bands, frames) to (n, 2 channels, bands, frames)."""
        return torch.cat((x, x - x.mean(-1, keepdim=True)), -3)


class LogSpectrum(nn.Module):
    """The log-mel spectrogram: from (n, channels, samples) to (n, channels, bands, frames).

    A short-time Fourier transform with Hann windows, written as a convolution with fixed kernels,
    whose power is added up in bands. A full-scale sine has power 1 in its band; `QUIET` is
    added.
    """

    kernels: Tensor
    mel: Tensor

    def __init__(self, window: int, rate: int, bands: int) -> None:
        super().__init__()
        self.hop = window // 2
        time = torch.arange(window, dtype=torch.float64)
        angle = 2 * math.pi / window * torch.arange(1, window // 2)[:, None] * time
        hann = torch.hann_window(window, dtype=torch.float64)
        waves = torch.cat((angle.cos(), angle.sin())) * hann * (2 / hann.sum())
        self.register_buffer("kernels", waves.float().unsqueeze(1), persistent=False)
        self.register_buffer("mel", _mel(window, rate, bands).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithms of the power in each band."""
        waves = F.conv1d(x.flatten(0, 1).unsqueeze(1), self.kernels, stride=self.hop)
        real, imaginary = waves.square().chunk(2, -2)
        power = self.mel @ (real + imaginary)
        return (power + QUIET).log().unflatten(0, x.shape[:2])


QUIET = 1e-5
"""50 decibels below a full-scale sine."""


def _mel(window: int, rate: int, bands: int) -> Tensor:
    """Triangular filters, evenly spaced on the mel scale: (bands, window / 2 - 1)."""
    hertz = torch.arange(1, window // 2, dtype=torch.float64) * rate / window
    edges = BREAK * (
        torch.linspace(0, math.log1p(rate / 2 / BREAK), bands + 2, dtype=torch.float64).exp() - 1
    )
    width = edges.diff()[:, None].clamp(min=rate / window)
    rise = (hertz - edges[:-2, None]) / width[:-1]
    fall = (edges[2:, None] - hertz) / width[1:]
    return torch.minimum(rise, fall).clamp(0, 1)


@dataclass(frozen=True)
class SignalCnn:
    """A residual network with convolutions along time, on series or raw waveforms.

    The first one is a bank of filters that skip along long inputs, so that about 256 places
    remain; the others are ``size`` places long.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    norm: Norm = "batch"
    zero: bool = True
    dropout: float = 0.0
    size: int = 5

    def __call__(self, form: Form) -> nn.Module:
        """The network; series or waveforms (channels, length)."""
        need(form, ("series", "waveform"), "SignalCnn")
        channels, length = form.shape
        skip = max(1, length // PLACES)
        long = self.size if skip == 1 else 8 * skip
        layers = linear(channels, self.widths[0], long, self.norm, 1, stride=skip)
        layers.append(nn.ReLU())
        before, halved = halvings(length // skip, len(self.widths) - 1)
        layers += [nn.MaxPool1d(2**before)] if before else []
        for (given, width), half in zip(pairwise(self.widths), halved, strict=True):
            layers += [nn.MaxPool1d(2)] if half else []
            layers += self.stage(given, width)
        return nn.Sequential(*layers, *head(self.widths[-1], form.outputs, 1, self.dropout))

    def stage(self, channels: int, width: int) -> list[nn.Module]:
        """The layers of one stage."""
        blocks = (Residual(width, self.size, self.norm, 1, self.zero) for _ in range(self.blocks))
        return [conv(channels, width, self.size, self.norm, 1), *blocks]


PLACES = 256
"""Places along time that are left of a waveform."""


@dataclass(frozen=True)
class ForecastNet:
    """The next values of a series: `nomagic.parts.nets.Forecast`, with ``width`` hidden units."""

    width: int = 32

    def __call__(self, form: Form) -> nn.Module:
        """The network; series (columns, past), of which the last column goes on."""
        need(form, ("series",), "ForecastNet")
        return nets.Forecast(form, self.width)
