"""Small networks to begin with, each made from the form of the data.

They are plain: no normalisation, no dropout, torch's own initial weights, and no branch that
depends on the data, so that many of them train side by side under `torch.vmap`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.words import Form


def linear(form: Form) -> nn.Module:
    """One linear layer on the flattened input: what every other network must beat."""
    return nn.Sequential(nn.Flatten(), nn.Linear(form.features, form.outputs))


def mlp(form: Form, width: int = 64, depth: int = 2) -> nn.Module:
    """``depth`` hidden layers of ``width`` units with ReLU, on the flattened input."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = form.features
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.ReLU()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, form.outputs))


def image_cnn(form: Form, width: int = 16) -> nn.Module:
    """Two 3 x 3 convolutions, each with ReLU and 2 x 2 max pooling, and two linear layers.

    Images are (channels, height, width), at least 4 x 4.
    """
    channels, height, wide = form.shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (wide // 4), 4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, form.outputs),
    )


def audio_cnn(form: Form, width: int = 32, first: int = 64) -> nn.Module:
    """A bank of ``width`` filters, ``first`` samples long, then two 1-D convolutions, all with
    ReLU and pooling, and a linear layer on the means of four parts of the time.

    Waveforms are (channels, samples), at least 1,024 samples long.
    """
    return nn.Sequential(
        nn.Conv1d(form.channels, width, first, stride=first // 8),
        nn.ReLU(),
        nn.MaxPool1d(8),
        nn.Conv1d(width, width, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(width, 2 * width, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(8 * width, form.outputs),
    )


class Forecast(nn.Module):
    """A forecast of a series from its own past, as a difference to the last value.

    Inputs are (columns, past) with the series in the last column; the others are not looked at,
    since with them the error on ETTh1 is twice as large. A linear path (NLinear, Zeng et al. 2022)
    and one with a hidden layer are added.
    """

    def __init__(self, form: Form, width: int = 32) -> None:
        super().__init__()
        past = form.shape[-1]
        self.straight = nn.Linear(past, form.outputs)
        self.bent = nn.Sequential(nn.Linear(past, width), nn.ReLU(), nn.Linear(width, form.outputs))

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, columns, past) to (batch, ahead)."""
        last = x[:, -1, -1:]
        past = x[:, -1] - last
        return last + self.straight(past) + self.bent(past)


class Transformer(nn.Module):
    """A small causal transformer: from tokens (batch, length) to logits (batch, length, tokens)."""

    def __init__(self, form: Form, width: int = 64, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.token = nn.Embedding(form.tokens, width)
        self.place = nn.Parameter(0.02 * torch.randn(form.shape[0], width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, form.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the next token at each place."""
        return self.out(self.norm(self.blocks(self.token(x) + self.place[: x.shape[-1]])))


class Block(nn.Module):
    """Attention to what came before, then two linear layers, each after a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, width) to the same."""
        split = self.ask(self.norm(x)).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0)
        query, key, value = split.transpose(-3, -2).unbind(0)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.answer(found.transpose(-3, -2).flatten(-2))
        return x + self.think(x)
