"""The steps that gradient scalers made and left out in mixed precision."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Scaled
from nomagic.words import Place

KEEP = 10_000
"""Left-out steps whose numbers are kept."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """One scaler: of ``steps`` asked of it, those ``skipped`` were left out for inf gradients."""

    steps: int
    skipped: tuple[int, ...] = ()
    place: Place | None = None


@dataclass(slots=True)
class _Live:
    scaler: weakref.ref[Any]
    steps: int = 0
    skipped: list[int] = field(default_factory=list[int])
    place: Place | None = None


class Scalers(Probe[Scaling]):
    """One row for each GradScaler."""

    def __init__(self, rows: Iterable[Scaling] = ()) -> None:
        super().__init__(rows)
        self._live: list[_Live] = []

    def on_scaler(self, event: Scaled) -> None:
        """Count its steps and those it left out."""
        if event.what != "step":
            return
        live = next((live for live in self._live if live.scaler() is event.scaler), None)
        if live is None:
            live = _Live(weakref.ref(event.scaler))
            self._live.append(live)
        if event.skipped and len(live.skipped) < KEEP:
            live.skipped.append(live.steps)
        live.steps += 1
        live.place = event.place

    def on_end(self) -> None:
        """Turn them into rows."""
        self.rows = [Scaling(live.steps, tuple(live.skipped), live.place) for live in self._live]
        self._live = []
