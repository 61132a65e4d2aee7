"""Networks for inputs of any shape: one linear layer, or several; and for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nomagic.parts.presets.kinds import UnfitError, need
from nomagic.words import Form


@dataclass(frozen=True)
class Linear:
    """One linear layer on the flattened input: what every other network must beat.

    Tokens are looked up, which is a linear layer on their one-hot codes: of the token alone in a
    sequence, of the token and its place in a classification.
    """

    def __call__(self, form: Form) -> nn.Module:
        """The network."""
        if not form.tokens:
            return nn.Sequential(_flat(form), nn.Linear(form.features, form.outputs))
        if form.task == "sequence":
            return nn.Embedding(form.tokens, form.outputs)
        return Bag(form.tokens, form.outputs)


def _flat(form: Form) -> nn.Module:
    """Gives each input as a row of numbers; single numbers become rows of one."""
    return nn.Flatten() if form.shape else nn.Unflatten(0, (-1, 1))


class Bag(nn.Module):
    """Logits as the mean of those of the tokens: from (n, length) to (n, outputs)."""

    def __init__(self, tokens: int, outputs: int) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The mean over all places."""
        return self.token(x).mean(-2)


@dataclass(frozen=True)
class Mlp:
    """``depth`` hidden layers of ``width`` units with ReLU, on the flattened input."""

    width: int = 64
    depth: int = 2
    norm: Literal["batch", "layer", "none"] = "none"
    dropout: float = 0.0

    def __call__(self, form: Form) -> nn.Module:
        """The network."""
        if form.tokens:
            raise UnfitError("Mlp serves numbers; inputs are tokens: take TextTransformer")
        hidden = self.hidden(form.features)
        return nn.Sequential(_flat(form), *hidden, nn.Linear(self.width, form.outputs))

    def hidden(self, size: int) -> list[nn.Module]:
        """The hidden layers, on ``size`` numbers."""
        layers: list[nn.Module] = []
        for number in range(self.depth):
            layers.append(nn.Linear(self.width if number else size, self.width))
            layers += self._norm()
            layers.append(nn.ReLU())
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return layers

    def _norm(self) -> list[nn.Module]:
        if self.norm == "batch":
            return [nn.BatchNorm1d(self.width)]
        return [nn.LayerNorm(self.width)] if self.norm == "layer" else []


@dataclass(frozen=True)
class TableMlp:
    """Hidden layers on the columns of a table, each beside waves of it.

    A column of text comes as columns of 0 and 1, so that the first layer's weights are the
    embeddings of its values, added up. Of each column, ``waves`` sines and cosines are given to a
    linear layer and ReLU of its own (Gorishniy et al. 2022): steps at certain values are then
    easy to learn. A column of two values has none. ``spread`` is the deviation of their
    frequencies, for standardised columns.
    """

    width: int = 128
    depth: int = 2
    waves: int = 16
    size: int = 8
    spread: float = 1.0
    dropout: float = 0.0

    def __call__(self, form: Form) -> nn.Module:
        """The network; columns (columns,)."""
        need(form, ("table",), "TableMlp")
        hidden = Mlp(self.width, self.depth, dropout=self.dropout).hidden
        first: list[nn.Module] = [_flat(form)]
        given = form.features
        numbers = sorted(set(range(given)) - set(form.flags))
        if self.waves and numbers:
            first.append(Waves(numbers, self.waves, self.size, self.spread))
            given += len(numbers) * self.size
        return nn.Sequential(*first, *hidden(given), nn.Linear(self.width, form.outputs))


class Waves(nn.Module):
    """All columns, and ``size`` units on sines and cosines of some: (n, all) to (n, more)."""

    def __init__(self, columns: list[int], waves: int, size: int, spread: float) -> None:
        super().__init__()
        self.columns, count = columns, len(columns)
        self.frequency = nn.Parameter(spread * torch.randn(count, waves))
        self.weight = nn.Parameter(torch.randn(count, 2 * waves, size) / math.sqrt(2 * waves))
        self.bias = nn.Parameter(torch.zeros(count, size))

    def forward(self, x: Tensor) -> Tensor:
        """The columns, followed by the units."""
        angle = 2 * math.pi * self.frequency * x[..., self.columns].unsqueeze(-1)
        both = torch.cat((angle.sin(), angle.cos()), -1)
        units = torch.relu(torch.einsum("...cw,cws->...cs", both, self.weight) + self.bias)
        return torch.cat((x, units.flatten(-2)), -1)
