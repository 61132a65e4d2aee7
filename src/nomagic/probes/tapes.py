"""One tape for each line that calls backward."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from nomagic.probes.probe import Probe
from nomagic.probes.recording import CannotRecordError, Recording
from nomagic.probes.run import Backward, Call, Op
from nomagic.probes.tape import Tape
from nomagic.probes.tree import leaves
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

TAPES = 4
ATTEMPTS = 4
"""Ticks that are recorded for one line until it succeeds."""
LATEST = 16
"""Last losses that are kept of a line."""
SHAPES = 32
"""Different shapes of a call's first input that are noted, and lines that they are noted for."""


class Tapes(Probe[Tape]):
    """One tape for each line that calls backward, from one of its first looked ticks."""

    def __init__(self, rows: Iterable[Tape] = ()) -> None:
        super().__init__(rows)
        self._now: Recording | None = None
        self._skip = False
        self._starts: set[Place | None] = set()
        self.shapes: dict[Place | None, set[tuple[int, ...]]] = {}
        self._losses: dict[Place | None, deque[tuple[int, Tensor]]] = {}
        self._tried: dict[Place | None, int] = {}

    # -- hearing --------------------------------------------------------------------------

    def on_enter(self, call: Call) -> None:
        """A module is called: copy it as it is before."""
        if call.grads:
            self._hear(call.place, lambda now: now.enter(call), live=True)

    def on_call(self, call: Call) -> None:
        """The call is over: it is a step."""
        if call.grads:
            self._note_shape(call)
            self._hear(call.place, lambda now: now.leave(call))
        elif self._now is not None:
            self._hear(call.place, lambda now: now.computed(call))

    def on_op(self, op: Op) -> None:
        """A function outside modules is a step if a weight or an earlier step is part of it."""
        if op.modules or self._skip or not self.run.looking:
            return
        if self._now is None:
            self._now = Recording(self.run)
        if self._now.live(op):
            self._hear(op.place, lambda now: now.op(op), live=True)
        else:
            self._hear(op.place, lambda now: now.fact(op))

    def on_backward(self, backward: Backward) -> None:
        """The tick is over: keep what led to this loss, if this line's tape is not yet kept."""
        self._note_loss(backward)
        now, self._now, self._skip = self._now, None, len(self.rows) >= TAPES
        if now is None or not now.steps:
            return
        tried = self._tried.get(backward.place, 0)
        if tried < ATTEMPTS:
            try:
                self.rows.append(now.tape(backward))
                tried = ATTEMPTS
            except Exception as error:
                tried += 1
                self.trouble = self.trouble or _said(error)
            self._tried[backward.place] = tried
        if tried >= ATTEMPTS:
            self._starts.add(now.start)

    def on_end(self) -> None:
        """Keep the last values of the weights, let go of the weights themselves."""
        self._now = None
        for index, tape in enumerate(self.rows):
            final = [tensor.detach().clone() for tensor in tape.originals] or None
            late = self._late(tape.place)
            self.rows[index] = replace(tape, final=final, originals=[], late=late)
        self._losses.clear()
        if self.rows:
            self.trouble = ""
        elif not self.trouble:
            self.trouble = "no training pass could be recorded"

    def release(self) -> None:
        """The experiments are over: let go of everything."""
        self.rows.clear()

    # -- recording -------------------------------------------------------------------------

    def _hear(
        self, place: Place | None, act: Callable[[Recording], None], live: bool = False
    ) -> None:
        if self._skip or not self.run.looking:
            return
        if self._now is None:
            self._now = Recording(self.run)
        now = self._now
        if live and not now.steps and place in self._starts and now.start is None:
            self._drop()
            return
        if live and now.start is None:
            now.start = place
        try:
            act(now)
        except Exception as error:
            self.trouble = self.trouble or _said(error)
            self._starts.add(now.start)
            self._drop()

    def _note_loss(self, backward: Backward) -> None:
        if self.run.looking and len(self._losses) < SHAPES and backward.loss.numel() == 1:
            kept = self._losses.setdefault(backward.place, deque(maxlen=LATEST))
            kept.append((backward.tick, backward.loss.detach().clone()))

    def _late(self, place: Place | None) -> float:
        """The mean of the last losses, if they are from the last half of the run."""
        kept = [loss for tick, loss in self._losses.get(place, ()) if tick > self.run.tick / 2]
        return sum(float(loss) for loss in kept) / len(kept) if kept else math.nan

    def _note_shape(self, call: Call) -> None:
        shapes = self.shapes.setdefault(call.place, set())
        first = next(leaves(call.args), None)
        if first is not None and len(shapes) < SHAPES and len(self.shapes) < SHAPES:
            shapes.add(tuple(first.shape))

    def _drop(self) -> None:
        self._now, self._skip = None, True


def _said(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, CannotRecordError)
        else f"could not record: {type(error).__name__}: {error}"
    )
