"""Use ReLU in hidden layers: it does not saturate, is cheap and trains faster than tanh.

The gradient passes where a unit is active, whatever its size, and the unit costs one comparison.

Against: the same page that gives this advice says elsewhere "so 2012" and wants PReLU; smooth units
(GELU, SiLU) are usual in transformers. Much of the advantage over tanh is the initial scale.

Try: ReLU in place of every other hidden unit (PReLU and ReLU6 apart), called as module or function.
Where all are ReLUs, its rivals: leaky ReLU with a slope of 0.1, GELU and SiLU. Gates and outputs
stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("004", "BYU", "002", "GLO11", "KRI12")
PROMISE = Promise("a network with ReLU trains six times faster than with tanh", "KRI12", "helps")
KEPT = frozenset({"relu", "prelu", "relu6"})
RIVALS = ("gelu", "silu", "leaky-relu-0.1")


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """ReLU for all hidden units, or its rivals for ReLU."""
    from nomagic.parts.flow import observe
    from nomagic.parts.rehearsal import arms

    kinds = {unit.name for unit in observe(glimpse.model, glimpse.sample).units()}
    if kinds - KEPT:
        what = f"{' and '.join(sorted(kinds - KEPT))} in hidden layers becomes relu"
        yield from arms(setup, glimpse, [(Edit("relu", rectify), what)])
    elif "relu" in kinds:
        edits = [
            (Edit(name, partial(rival, name=name)), f"relu in hidden layers becomes {name}")
            for name in RIVALS
        ]
        for arm in arms(setup, glimpse, edits):
            yield replace(arm, rival=True) if isinstance(arm, Arm) else arm
    else:
        known = f"hidden units are {', '.join(sorted(kinds))}: it is followed already"
        yield NotApplicable(known if kinds else "there are no units in hidden layers")


def rectify(model: nn.Module, sample: Tensor) -> nn.Module:
    """Make all hidden units ReLUs."""
    from torch import nn

    from nomagic.parts.flow import UNITS
    from nomagic.parts.surgery import swap_units

    return swap_units(model, sample, UNITS.keys() - KEPT, nn.ReLU)


def rival(model: nn.Module, sample: Tensor, name: str) -> nn.Module:
    """Make hidden ReLUs one of the rivals."""
    from torch import nn

    from nomagic.parts.surgery import swap_units

    kinds = {"leaky-relu-0.1": partial(nn.LeakyReLU, 0.1), "gelu": nn.GELU, "silu": nn.SiLU}
    return swap_units(model, sample, {"relu"}, kinds[name])
