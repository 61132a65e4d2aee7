"""What a trick may look at before it says what it would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nomagic.words import Form

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Glimpse:
    """A fresh network of the setup, some data, and its optimizer in plain numbers.

    ``model`` is as `Setup.model` and the setup's edits left it (look, do not change); ``sample`` a
    batch of inputs as it sees them, ``targets`` theirs; ``raw`` training inputs before the
    setup's input steps (n, *shape). ``optimizer`` is the class, ``rate`` and ``decay`` what its
    first group has. ``train`` is the number of training samples.
    """

    form: Form
    model: nn.Module
    sample: Tensor
    targets: Tensor
    raw: Tensor
    optimizer: str
    rate: float
    decay: float
    train: int
