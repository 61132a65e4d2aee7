"""Penalise large weights: a little decay each step keeps a network from fitting the noise.

Every step takes a share of each weight away, and what the data does not hold up fades.

Against: behind a norm layer the size of weights means nothing, and decay only sets the effective
learning rate (VLA17). Under Adam, decay and an L2 term in the loss are not the same. Too much costs
more than none: on ImageNet 0.0005 gave 47.1 % and 0.0001 45.0 % (MIS17).

Try: decay of 0, 0.0001, 0.001, 0.01 and 0.1, decoupled from the gradient, but for the one that the
setup has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, NotApplicable, Promise, Setup

SOURCES = ("KAR", "C230", "004", "VLA17", "MIS17")
PROMISE = Promise("ImageNet: 45.0 % at 0.0001, 47.1 % at 0.0005", "MIS17", "helps", 2.1)
DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
WITHOUT = frozenset({"LBFGS", "Rprop", "SparseAdam"})  # torch's optimizers that have no decay


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Other decays than the setup's."""
    if glimpse.optimizer in WITHOUT:
        yield NotApplicable(f"{glimpse.optimizer} has no weight decay")
        return
    now = glimpse.decay if setup.decay is None else setup.decay
    for decay in DECAYS:
        if not math.isclose(decay, now, rel_tol=1e-3):
            what = f"weight decay {decay:g} instead of {now:g}"
            yield Arm(f"weight-decay-{decay:g}", replace(setup, decay=decay), what)
