"""The training loss at every backward: its value, when, on which line, from which batch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Batch, Step
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

FIRST = 2_000
"""Losses at the start that are kept whatever comes after."""
KEEP = 100_000
"""When more have come, every other later one is let go, and only every other is kept then."""
BULK = 512
"""Losses on an accelerator wait there until so many can be fetched at once."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one backward, before a GradScaler scaled it; the mean where it is not one number.

    ``step`` counts the optimizer steps before it, ``rate`` is the learning rate of the step that
    followed (nan: none did, or it is on the device). ``loader`` numbers the loaders in the order of
    their first batch; it, ``epoch`` and ``index`` are those of the loader's batch in hand, -1 where
    there is none.
    """

    value: float
    tick: int
    step: int
    place: Place | None = None
    rate: float = math.nan
    loader: int = -1
    epoch: int = -1
    index: int = -1
    by_grad: bool = False

    @property
    def finite(self) -> bool:
        """Whether it is a number."""
        return math.isfinite(self.value)


@dataclass(slots=True)
class _Live:
    value: Any
    tick: int
    step: int
    place: Place | None
    rate: float
    batch: tuple[int, int, int]
    by_grad: bool


class Descent(Probe[Loss]):
    """The training losses in order; of the later ones only every ``thinned``-th was kept.

    ``backwards`` counts them all, and the first that is not finite is kept in any case. ``loaders``
    are the lines that made the loaders, by their numbers.
    """

    always: ClassVar[tuple[str, ...]] = ("on_backward",)
    windows: ClassVar[tuple[str, ...]] = ("on_step",)

    def __init__(self, rows: Iterable[Loss] = ()) -> None:
        super().__init__(rows)
        self.thinned = 1
        self.backwards = len(self.rows)
        self._live: list[_Live] = []
        self._remote: list[_Live] = []
        self._newest: _Live | None = None
        self._steppers: dict[Place | None, weakref.ref[Any]] = {}
        self._broken: _Live | None = None
        self.loaders: list[Place | None] = []
        self._loaders: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._made: dict[int, Place | None] = {}

    @property
    def broken(self) -> bool:
        """Whether a loss that is not finite has been seen; on an accelerator known with a delay."""
        return self._broken is not None

    def lines(self) -> dict[Place | None, list[Loss]]:
        """The losses by the line that called backward, the line with the most first."""
        lines: dict[Place | None, list[Loss]] = {}
        for row in self.rows:
            lines.setdefault(row.place, []).append(row)
        return dict(sorted(lines.items(), key=lambda item: -len(item[1])))

    def on_loader(self, loader: Any, place: Place | None) -> None:
        """Remember the line that made a loader."""
        self._made[id(loader)] = place

    def on_backward(self, backward: Backward) -> None:
        """Keep the loss; on an accelerator it stays there for now."""
        run, loss = self.run, backward.loss
        value = _number(loss) if loss.is_cpu else _kept(loss)
        if value is None:
            return
        live = _Live(
            value,
            run.tick,
            run.steps,
            backward.place,
            self._rate(backward.place) if run.asleep else math.nan,
            self._batch(run.batch),
            backward.by_grad,
        )
        self.backwards += 1
        self._newest = live
        if loss.is_cpu:
            self._note(live)
        else:
            self._remote.append(live)
            if len(self._remote) >= BULK or run.looking:
                self._fetch()
        if len(self._live) < FIRST or self.backwards % self.thinned == 0:
            self._live.append(live)
            if len(self._live) > KEEP:
                self._thin()

    def on_step(self, step: Step) -> None:
        """The learning rate of the step that the newest loss leads to."""
        newest, self._newest = self._newest, None
        if newest is not None:
            newest.rate = rate(step.optimizer)
            self._steppers[newest.place] = weakref.ref(step.optimizer)

    def _rate(self, place: Place | None) -> float:
        """The learning rate of the optimizer that steps after this line."""
        stepper = self._steppers.get(place)
        return rate(stepper()) if stepper is not None else math.nan

    def _batch(self, batch: Batch | None) -> tuple[int, int, int]:
        if batch is None:
            return (-1, -1, -1)
        kept = self._loaders.get(id(batch.loader))
        if kept is None or kept[0]() is not batch.loader:
            kept = (weakref.ref(batch.loader), len(self.loaders))
            self._loaders[id(batch.loader)] = kept
            self.loaders.append(self._made.get(id(batch.loader)))
        return (kept[1], batch.epoch, batch.index)

    def _note(self, live: _Live) -> None:
        if self._broken is None and not math.isfinite(live.value):
            self._broken = live

    def _fetch(self) -> None:
        """Bring the waiting losses here, one copy for each device."""
        import torch

        remote, self._remote = self._remote, []
        devices = {live.value.device for live in remote}
        for device in devices:
            some = [live for live in remote if live.value.device == device]
            values = torch.stack([live.value.float() for live in some]).tolist()
            for live, value in zip(some, values, strict=True):
                live.value = value
        for live in remote:
            self._note(live)

    def _thin(self) -> None:
        self._live = self._live[:FIRST] + self._live[FIRST::2]
        self.thinned *= 2

    def on_end(self) -> None:
        """Fetch what waits and turn everything into rows."""
        self._fetch()
        live, self._live = self._live, []
        broken, self._broken, self._newest = self._broken, None, None
        if broken is not None and not any(one is broken for one in live):
            live.append(broken)
            live.sort(key=lambda one: one.tick)
        self.rows = [
            Loss(one.value, one.tick, one.step, one.place, one.rate, *one.batch, one.by_grad)
            for one in live
        ]
        self._loaders.clear()
        self._made.clear()


def rate(optimizer: Any) -> float:
    """The learning rate of an optimizer's first group; nan where it is on a device."""
    groups = optimizer.param_groups if optimizer is not None else None
    value = groups[0].get("lr") if groups else None
    here = isinstance(value, int | float) or getattr(value, "is_cpu", False)
    return float(value) if here else math.nan  # pyright: ignore[reportArgumentType]


def _number(loss: Tensor) -> float | None:
    """The loss here; None where it has no value (inside a function transform)."""
    try:
        value = loss.item() if loss.ndim == 0 else loss.detach().mean().item()
    except RuntimeError:
        return None
    return value if isinstance(value, float) else None


def _kept(loss: Tensor) -> Tensor | None:
    """A copy of the loss on its device."""
    value = loss.detach()
    if value.is_meta or value.is_complex() or not value.numel():
        return None
    return value.mean() if value.dim() else value.clone()
