"""The optimizers of a run: where they were made, what they own, how often they step."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Step
from nomagic.words import Place

if TYPE_CHECKING:
    from torch.optim import Optimizer

RATES = 400
"""Learning rates kept of one optimizer; when more have come, every other one is let go."""


@dataclass(frozen=True, slots=True)
class Group:
    """One parameter group: how many tensors and numbers it holds, and its plain settings."""

    tensors: int
    elements: int
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Optimized:
    """One optimizer, the ``number``-th that was made.

    ``rates`` are (step, learning rate of its first group) at looked steps. ``blank`` says that it
    remembered nothing before its first step, ``remembers`` that it does after it (momentum,
    Adam's averages). ``closure``: its step calls the loss itself.
    """

    number: int
    kind: str
    place: Place | None
    stepping: Place | None = None
    steps: int = 0
    began: int = -1
    rates: tuple[tuple[int, float], ...] = ()
    groups: tuple[Group, ...] = ()
    schedulers: tuple[str, ...] = ()
    blank: bool = True
    remembers: bool = False
    closure: bool = False


@dataclass(slots=True)
class _Live:
    number: int
    optimizer: weakref.ref[Optimizer]
    kind: str
    place: Place | None
    stepping: Place | None = None
    steps: int = 0
    began: int = -1
    tick: int = -1
    rates: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    spacing: int = 1
    groups: tuple[Group, ...] = ()
    schedulers: list[str] = field(default_factory=list[str])
    blank: bool = True
    remembers: bool = False
    closure: bool = False


class Optimizers(Probe[Optimized]):
    """The optimizers in the order of their construction."""

    windows: ClassVar[tuple[str, ...]] = ("on_before_step", "on_step")

    def __init__(self, rows: Iterable[Optimized] = ()) -> None:
        super().__init__(rows)
        self._live: dict[int, _Live] = {}
        self._gone: list[_Live] = []

    def number(self, optimizer: object) -> int:
        """Its number while the script runs, -1 if it is not known."""
        live = self._live.get(id(optimizer))
        return live.number if live is not None and live.optimizer() is optimizer else -1

    def alive(self) -> Iterator[tuple[int, Optimizer]]:
        """The optimizers that exist now, with their numbers."""
        for live in list(self._live.values()):
            optimizer = live.optimizer()
            if optimizer is not None:
                yield live.number, optimizer

    def on_optimizer(self, optimizer: Optimizer, place: Place | None) -> None:
        """One was made."""
        self._know(optimizer, place)

    def on_scheduler(self, scheduler: Any, place: Place | None) -> None:
        """A scheduler was made for one."""
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is not None and hasattr(optimizer, "param_groups"):
            self._know(optimizer, None).schedulers.append(type(scheduler).__name__)

    def on_before_step(self, step: Step) -> None:
        """See before the first step whether it remembers anything, as a restored one does."""
        if step.index > 1:
            return
        live = self._know(step.optimizer, None)
        live.tick = step.tick
        if step.index == 0:
            live.began = step.tick
            live.blank = blank(step.optimizer)

    def on_step(self, step: Step) -> None:
        """At its first step and in looked ticks, see its learning rate."""
        kept = self._live.get(id(step.optimizer))
        if kept is None:
            kept = self._know(step.optimizer, None)
        kept.steps = step.index + 1
        if self.run.looking or step.index == 0:
            self._look(kept, step)

    def _look(self, live: _Live, step: Step) -> None:
        optimizer = step.optimizer
        live.stepping = step.place
        if step.index < 2:
            live.closure = live.closure or step.tick > live.tick >= 0
            live.remembers = remembers(optimizer)
            live.groups = tuple(_group(group) for group in optimizer.param_groups)
        rate = number(optimizer.param_groups[0].get("lr"))
        if rate is not None and step.index % live.spacing == 0:
            live.rates.append((step.index, rate))
            if len(live.rates) > RATES:
                live.rates = live.rates[::2]
                live.spacing *= 2

    def _know(self, optimizer: Optimizer, place: Place | None) -> _Live:
        live = self._live.get(id(optimizer))
        if live is None or live.optimizer() is not optimizer:
            if live is not None:
                self._gone.append(live)
            count = len(self._live) + len(self._gone)
            live = _Live(count, weakref.ref(optimizer), type(optimizer).__name__, place)
            self._live[id(optimizer)] = live
        return live

    def on_end(self) -> None:
        """Turn them into rows."""
        for live in self._live.values():
            optimizer = live.optimizer()
            if optimizer is not None:
                live.steps = self.run.stepped.get(id(optimizer), live.steps)
                live.groups = tuple(_group(group) for group in optimizer.param_groups)
        every = sorted([*self._gone, *self._live.values()], key=lambda live: live.number)
        self.rows = [
            Optimized(
                live.number,
                live.kind,
                live.place,
                live.stepping,
                live.steps,
                live.began,
                tuple(live.rates),
                live.groups,
                tuple(live.schedulers),
                live.blank,
                live.remembers,
                live.closure,
            )
            for live in every
        ]
        self._live, self._gone = {}, []


def number(value: Any) -> float | None:
    """A learning rate as a number; None where it stays on a device."""
    if isinstance(value, int | float):
        return float(value)
    if getattr(getattr(value, "device", None), "type", "") == "cpu":
        return float(value)
    return None


def blank(optimizer: Optimizer) -> bool:
    """Whether it has not stepped yet, in this run or in one that it was restored from."""
    for state in optimizer.state.values():
        count = state.get("step") if isinstance(state, dict) else None
        if count is None or float(count) > 0:
            return not any(value is not None for value in _remembered(state))
    return True


def remembers(optimizer: Optimizer) -> bool:
    """Whether it carries anything from step to step."""
    return any(True for state in optimizer.state.values() for _ in _remembered(state))


def _remembered(state: Any) -> Iterator[Any]:
    if isinstance(state, dict):
        yield from (value for key, value in state.items() if key != "step" and value is not None)


def _group(group: Mapping[str, Any]) -> Group:
    tensors = list(group["params"])
    settings = {
        key: value
        for key, value in group.items()
        if value is None or isinstance(value, bool | int | float | str | tuple)
    }
    rate = number(group.get("lr"))
    settings["lr"] = math.nan if rate is None else rate
    return Group(len(tensors), sum(tensor.numel() for tensor in tensors), settings)
