"""Where the time of a training step goes: waiting for the loader, and the rest.

Per tick and loader: the seconds in which a batch was waited for, and the seconds from one backward
to the next. The first ticks (start-up, workers that begin) are left out; medians do not mind the
first batch of an epoch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from nomagic.probes.loaders import Loaders
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Batch

WARM = 5
"""Ticks of a loader that are left out."""
KEPT = 4_096
"""Ticks kept of one loader, the newest of a longer run thinned out."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A training loader's waits, in seconds.

    ``typical`` is the median of one tick, ``step`` the median of the
    whole tick without our own work, ``total`` the sum over all ticks,
    those between windows taken to be like the others. ``device`` is
    where the network computed.
    """

    loader: int
    ticks: int
    typical: float
    step: float
    total: float
    device: str = "cpu"

    @property
    def share(self) -> float:
        """The share of a typical step that is spent waiting."""
        return self.typical / self.step if self.step > 0 else 0.0


class Timing(Probe[Wait]):
    """The waits for each loader that fed training."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Loaders,)
    windows: ClassVar[tuple[str, ...]] = ("on_batch", "on_backward")

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._ticks: dict[int, list[tuple[float, float]]] = {}
        self._seen: dict[int, int] = {}
        self._totals: dict[int, float] = {}
        self._heard = 0
        self._waited = 0.0
        self._batches = 0
        self._loader: Any = None
        self._began = 0.0
        self._ours = 0.0
        self._device = "cpu"

    def on_batch(self, batch: Batch) -> None:
        """A batch came."""
        if batch.loader is not self._loader:
            self._loader, self._waited, self._batches = batch.loader, 0.0, 0
        self._waited += batch.waited
        self._batches += 1

    def on_wake(self) -> None:
        """Some ticks went by unheard: this one has no beginning."""
        self._waited, self._batches, self._loader = 0.0, 0, None
        self._began = time.perf_counter()
        self._ours = self.run.clock.start + self.run.clock.spent

    def on_backward(self, backward: Backward) -> None:
        """A tick is over: how long it took, how much of it was waiting."""
        self._heard += 1
        clock = self.run.clock
        now, ours = time.perf_counter(), clock.start + clock.spent
        took, self._began = now - self._began - (ours - self._ours), now
        self._ours = ours
        waited, self._waited = self._waited, 0.0
        count, self._batches = self._batches, 0
        loader, self._loader = self._loader, None
        if loader is not None and count == 1:  # more are an evaluation between two steps
            self._add(loader, waited, took)
        if self.run.tick == 1:
            self._device = backward.loss.device.type

    def _add(self, loader: Any, waited: float, took: float) -> None:
        entry = self.run.probe(Loaders).of(loader)
        if entry is None:
            return
        seen = self._seen[entry.number] = self._seen.get(entry.number, 0) + 1
        if seen <= WARM:
            return
        self._totals[entry.number] = self._totals.get(entry.number, 0.0) + waited
        ticks = self._ticks.setdefault(entry.number, [])
        if len(ticks) < KEPT or seen % 16 == 0:
            ticks.append((waited, took))
        if len(ticks) > 2 * KEPT:
            del ticks[1::2]

    def on_end(self) -> None:
        """The script is over: medians."""
        for number, ticks in self._ticks.items():
            waits, steps = sorted(w for w, _ in ticks), sorted(t for _, t in ticks)
            middle = len(ticks) // 2
            self.rows.append(
                Wait(
                    loader=number,
                    ticks=self._seen[number],
                    typical=waits[middle],
                    step=steps[middle],
                    total=self._totals[number] * self.run.tick / max(1, self._heard),
                    device=self._device,
                )
            )
        self._loader = None
