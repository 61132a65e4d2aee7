"""ELU is good but expensive: negative inputs fade out smoothly instead of being cut off.

Units that go below zero bring the mean of what they put out closer to zero, which speeds training.

Against: the gain is small (MIS17: 48.8 % and ReLU 47.1 % without batch norm, 49.8 and 49.9 % with),
and on a CPU it takes three times as long as ReLU, forward and backward.

Try: ELU in place of every hidden ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("002", "ELU15", "MIS17")
PROMISE = Promise("ImageNet without batch norm: 47.1 to 48.8 % accuracy", "MIS17", "helps", 1.7)


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """ELU for ReLU."""
    from nomagic.parts.rehearsal import arms

    yield from arms(setup, glimpse, [(Edit("elu", soften), "relu in hidden layers becomes elu")])


def soften(model: nn.Module, sample: Tensor) -> nn.Module:
    """Make hidden ReLUs ELUs."""
    from torch import nn

    from nomagic.parts.surgery import swap_units

    return swap_units(model, sample, {"relu"}, nn.ELU)
