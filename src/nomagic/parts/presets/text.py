"""Networks for tokens: the next one at each place of a sequence, or one answer for all of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.parts.presets.kinds import need
from nomagic.words import Form


@dataclass(frozen=True)
class TextTransformer:
    """A small transformer with norms before attention and before the linear layers.

    In a sequence each place looks at those before it; in other tasks at all of them, and the mean
    over the places is classified.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    dropout: float = 0.0

    def __call__(self, form: Form) -> nn.Module:
        """The network; tokens (length,)."""
        need(form, ("tokens",), "TextTransformer")
        return Transformer(form, self)


class Transformer(nn.Module):
    """From tokens (n, length) to (n, length, outputs) in a sequence, else to (n, outputs)."""

    def __init__(self, form: Form, preset: TextTransformer) -> None:
        super().__init__()
        width, causal = preset.width, form.task == "sequence"
        self.token = nn.Embedding(form.tokens, width)
        nn.init.normal_(self.token.weight, std=0.02)
        self.place = nn.Parameter(0.02 * torch.randn(form.shape[0], width))
        self.drop = nn.Dropout(preset.dropout)
        self.blocks = nn.Sequential(
            *(Block(width, preset.heads, preset.dropout, causal) for _ in range(preset.depth))
        )
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Identity() if causal else Mean()
        self.out = nn.Linear(width, form.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.drop(self.token(x) + self.place[: x.shape[-1]])
        return self.out(self.pool(self.norm(self.blocks(x))))


class Block(nn.Module):
    """Attention, then two linear layers, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.LayerNorm(width), Attention(width, heads, causal), nn.Dropout(dropout)
        )
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (n, length, width) to the same."""
        x = x + self.attend(x)
        return x + self.think(x)


class Attention(nn.Module):
    """Attention of several heads, to the places before only if it is ``causal``."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, length, width) to the same."""
        split = self.ask(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0)
        query, key, value = split.transpose(-3, -2).unbind(0)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.answer(found.transpose(-3, -2).flatten(-2))


class Mean(nn.Module):
    """The mean over the places: from (n, length, width) to (n, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean."""
        return x.mean(-2)


@dataclass(frozen=True)
class TextGru:
    """Gated recurrent units (Cho et al. 2014), ``depth`` layers of them.

    A token has ``embedding`` numbers, or ``width`` where those are fewer. In tasks other than a
    sequence, the mean over the places is classified. Torch cannot map them
    over members, so that they train in processes.
    """

    width: int = 128
    depth: int = 1
    dropout: float = 0.0
    embedding: int = 64

    def __call__(self, form: Form) -> nn.Module:
        """The network; tokens (length,)."""
        need(form, ("tokens",), "TextGru")
        return Gru(form, self)


class Gru(nn.Module):
    """From tokens (n, length) to (n, length, outputs) in a sequence, else to (n, outputs)."""

    def __init__(self, form: Form, preset: TextGru) -> None:
        super().__init__()
        width, narrow = preset.width, min(preset.width, preset.embedding)
        self.token = nn.Embedding(form.tokens, narrow)
        self.gru = nn.GRU(narrow, width, preset.depth, batch_first=True)
        self.drop = nn.Dropout(preset.dropout)
        self.pool = nn.Identity() if form.task == "sequence" else Mean()
        self.out = nn.Linear(width, form.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        found, _ = self.gru(self.drop(self.token(x)))
        return self.out(self.pool(self.drop(found)))
