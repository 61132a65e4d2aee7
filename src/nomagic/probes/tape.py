"""What was computed between a model's inputs and its loss, kept so that it can be done again.

A tape holds the outermost module calls and the torch functions outside modules that led to one
loss, the modules as they were before, and the data. `nomagic.replay` runs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor that an earlier step made: the ``part``-th of its output."""

    step: int
    part: int


@dataclass(frozen=True, slots=True)
class Outside:
    """A tensor from outside: the ``index``-th of the tape's data."""

    index: int


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter that is used outside its module: the ``index``-th of the tape's weights."""

    index: int


Arg = Ref | Outside | Weight
"""What stands on a tape for a tensor."""
ARGS = (Ref, Outside, Weight)


@dataclass(frozen=True, slots=True)
class Datum:
    """A tensor that came from outside: data, target, constant, hidden state.

    ``loaded`` when it came from a DataLoader (``collated``: that stacks samples along the first
    dimension), ``picked`` when it is rows of a larger tensor, ``drawn`` when random numbers are
    part of its values, ``computed`` when a network's output without gradients is (a teacher's,
    a target network's).
    """

    value: Tensor
    loaded: bool = False
    collated: bool = False
    picked: bool = False
    drawn: bool = False
    computed: bool = False


Kept = tuple[str, str, int]
"""A tensor that a call leaves on a module: the part's name, the attribute, which of its tensors."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of an outermost module, or of a torch function outside modules.

    ``module`` is the module's index, -1 for a function. ``modes`` are the training flags of the
    module and all its parts, ``casts`` the autocast that was on (device, dtype), ``random`` the
    states of the random generators before it, where they matter. ``kept`` are tensors that it
    left on the module; they count as outputs after the others.
    """

    name: str
    module: int
    func: Any
    args: Any
    kwargs: Any
    grads: bool
    place: Place | None
    modes: tuple[bool, ...] = ()
    casts: tuple[tuple[str, Any], ...] = ()
    random: Any = None
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class Tape:
    """How one loss was computed: steps in order, modules, data.

    The modules are copies from before the first step. ``loss`` says where the loss is,
    ``value`` what it was. ``final`` holds the last values of all parameters and buffers of the
    run (in the order of `state`), or None where they are not known. ``built`` are the lines
    that constructed the modules, ``places`` those of their parts, by name; ``late`` is the loss
    near the end of the run.
    """

    place: Place | None
    tick: int
    value: float
    loss: Ref
    steps: tuple[Step, ...]
    modules: tuple[nn.Module, ...]
    weights: tuple[Tensor, ...]
    data: tuple[Datum, ...]
    built: tuple[Place | None, ...]
    places: tuple[dict[str, Place], ...] = ()
    originals: list[Tensor] = field(default_factory=lambda: list["Tensor"]())
    final: list[Tensor] | None = None
    late: float = math.nan

    @property
    def model(self) -> int:
        """The step that calls the module with the most parameters (the last such call), or -1."""
        sizes = [sum(p.numel() for p in m.parameters()) for m in self.modules]
        best = max(sizes, default=0)
        calls = [
            i
            for i, step in enumerate(self.steps)
            if step.module >= 0 and sizes[step.module] == best
        ]
        return calls[-1] if calls and best else -1


def state(modules: Iterable[nn.Module], weights: Iterable[Tensor] = ()) -> list[Tensor]:
    """All parameters and buffers of these modules, each once, in order; then the loose weights."""
    tensors: dict[int, Tensor] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            tensors.setdefault(id(tensor), tensor)
    for weight in weights:
        tensors.setdefault(id(weight), weight)
    return list(tensors.values())
