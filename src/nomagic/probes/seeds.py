"""Which random generators were seeded, and which were drawn from."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

LIBRARIES = ("torch", "numpy", "random")


@dataclass(frozen=True, slots=True)
class Generator:
    """The global generator of one library: was it seeded, was it drawn from while we watched.

    ``place`` is where it was first seeded.
    """

    library: str
    seeded: bool
    drawn: bool
    place: Place | None = None


class Seeds(Probe[Generator]):
    """One row for each of torch, numpy and random; ``first`` is the line that built first."""

    def __init__(self, rows: Iterable[Generator] = ()) -> None:
        super().__init__(rows)
        self.first: Place | None = None
        self._begun = _states()
        self._seeded: dict[str, Place | None] = {}

    def on_seed(self, library: str, seed: Any, place: Place | None) -> None:
        """A global generator was seeded."""
        self._seeded.setdefault(library, place)

    def on_module(self, module: nn.Module, place: Place | None) -> None:
        """A module was constructed: it drew its weights."""
        if not type(module).__module__.endswith(("modules.loss", "modules.activation")):
            self.first = self.first or place

    def on_loader(self, loader: DataLoader[Any], place: Place | None) -> None:
        """A loader was constructed: it will draw the order."""
        self.first = self.first or place

    def on_backward(self, backward: Backward) -> None:
        """Neither was seen before the first backward."""
        self.first = self.first or backward.place

    def on_end(self) -> None:
        """Compare the states with those at the start."""
        ended = _states()
        self.rows = [
            Generator(
                library,
                library in self._seeded or _source(ended[library]) != _source(self._begun[library]),
                ended[library] != self._begun[library]
                and (library != "random" or self._names_random()),
                self._seeded.get(library),
            )
            for library in LIBRARIES
        ]

    def _names_random(self) -> bool:
        """Whether the user's own modules name Python's generator: libraries draw when imported."""
        own = [
            module
            for name, module in list(sys.modules.items())
            if name == "__main__" or self.run.places.mine(getattr(module, "__file__", None) or "<")
        ]
        return any(
            value is random or getattr(value, "__self__", None) is vars(random)["_inst"]
            for module in own
            for value in list(vars(module).values())
        )


def _states() -> dict[str, tuple[Any, Any]]:
    """The states of the global generators, and the seed where the library tells it."""
    import torch

    states: dict[str, tuple[Any, Any]] = {
        "torch": (torch.initial_seed(), bytes(torch.get_rng_state().numpy())),
        "random": (None, random.getstate()),
        "numpy": (None, None),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        kind, keys, position, *rest = numpy.random.get_state()
        states["numpy"] = (None, (kind, bytes(keys), position, *rest))
    return states


def _source(state: tuple[Any, Any]) -> Any:
    return state[0]
