"""The learnt slopes of PReLU units, and whether an optimizer decays them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Step
from nomagic.words import Place

MOST = 200
"""PReLU layers that are followed."""


@dataclass(frozen=True, slots=True)
class Slope:
    """The slopes of one PReLU layer, as last seen after a step.

    ``decay`` is the weight decay of the group that holds them, ``optimizer`` the line that made
    their optimizer.
    """

    name: str
    place: Place | None
    start: float
    low: float
    high: float
    steps: int
    decay: float
    optimizer: Place | None


@dataclass(slots=True)
class _Live:
    parameter: Any
    name: str
    place: Place | None
    start: Any
    now: Any
    steps: int = 0
    decay: float = 0.0
    optimizer: Place | None = None


class Slopes(Probe[Slope]):
    """One row for each PReLU layer whose slopes an optimizer trains."""

    def __init__(self, rows: Iterable[Slope] = ()) -> None:
        super().__init__(rows)
        self._live: dict[int, _Live] = {}
        self._known: set[int] = set()
        self._places: dict[int, Place | None] = {}

    def on_optimizer(self, optimizer: Any, place: Place | None) -> None:
        """Remember where it was made."""
        self._places[id(optimizer)] = place

    def on_before_step(self, step: Step) -> None:
        """Find the slopes among what a new optimizer trains."""
        if id(step.optimizer) in self._known:
            return
        self._known.add(id(step.optimizer))
        slopes = {id(m.weight): m for root in self.run.roots() for m in root.modules() if _prelu(m)}
        for group in step.optimizer.param_groups:
            for parameter in group["params"]:
                module = slopes.get(id(parameter))
                if module is not None and len(self._live) < MOST:
                    start = parameter.detach().clone()
                    live = _Live(
                        parameter, self.run.name(module), self.run.built(module), start, start
                    )
                    live.decay = float(group.get("weight_decay") or 0.0)
                    live.optimizer = self._places.get(id(step.optimizer))
                    self._live[id(parameter)] = live

    def on_step(self, step: Step) -> None:
        """Keep the slopes as they are now."""
        for live in self._live.values():
            live.now = live.parameter.detach().clone()
            live.steps = step.index + 1

    def on_end(self) -> None:
        """Turn the last slopes into rows."""
        for live in self._live.values():
            now = live.now.float()
            low, high = float(now.min()), float(now.max())
            start = float(live.start.float().mean())
            self.rows.append(
                Slope(
                    live.name, live.place, start, low, high, live.steps, live.decay, live.optimizer
                )
            )
        self._live.clear()
        self._places.clear()


def _prelu(module: Any) -> bool:
    from torch import nn

    return isinstance(module, nn.PReLU)
