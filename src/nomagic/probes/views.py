"""Views that give a tensor's sizes in another order without moving its numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Op
from nomagic.probes.trace import Trace
from nomagic.words import Place

NAMES = frozenset({"view", "reshape", "view_as", "reshape_as", "_unsafe_view"})
SITES = 100
"""Lines that are kept."""
BACK = 6
"""Functions upstream that are kept."""


@dataclass(frozen=True, slots=True)
class View:
    """A view or reshape that gives the sizes of its input, those of one left out, in another order.

    ``made`` are the functions that led to its input, nearest first, ``flat`` whether one of them
    returned at most two dimensions with nothing but views since (a learnt layer then decides what
    the numbers mean); ``feeds`` are the functions that used its output. ``native`` when it was
    called inside one of torch's own modules, ``grads`` in a training pass.
    """

    place: Place | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    made: tuple[str, ...]
    flat: bool = False
    feeds: tuple[str, ...] = ()
    module: str = ""
    native: bool = False
    grads: bool = True


class Views(Probe[View]):
    """One row for each line with such a view."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace,)

    def __init__(self, rows: Iterable[View] = ()) -> None:
        super().__init__(rows)
        self._known: dict[Any, int] = {}
        self._waiting: dict[int, tuple[Any, int]] = {}

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor."""
        if self._waiting:
            self._follow(op)
        if op.name not in NAMES or not op.args:
            return
        before, after = _sizes(op.args[0]), _sizes(op.output)
        if before != after and sorted(before) == sorted(after):
            self._keep(op, tuple(op.args[0].shape), tuple(op.output.shape))

    def _keep(self, op: Op, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        index = self._known.get((op.place, before, after))
        if index is None and len(self.rows) < SITES:
            index = self._known[op.place, before, after] = len(self.rows)
            chain = self.run.probe(Trace).chain(op.args[0], BACK)
            views = next((i for i, node in enumerate(chain) if node.name not in NAMES), len(chain))
            owner = op.modules[-1] if op.modules else None
            self.rows.append(
                View(
                    place=op.place,
                    before=before,
                    after=after,
                    made=tuple(node.name for node in chain),
                    flat=views < len(chain) and len(chain[views].shape) <= 2,
                    module=self.run.name(owner) if owner is not None else "",
                    native=type(owner).__module__.startswith("torch.nn.")
                    if owner is not None
                    else False,
                    grads=op.grads,
                )
            )
        if index is not None and len(self._waiting) < SITES:
            self._waiting[id(op.output)] = (op.output, index)

    def _follow(self, op: Op) -> None:
        for value in op.args:
            kept = self._waiting.get(id(value))
            if kept is not None and kept[0] is value:
                row = self.rows[kept[1]]
                if op.name not in row.feeds and len(row.feeds) < BACK:
                    self.rows[kept[1]] = replace(row, feeds=(*row.feeds, op.name))

    def on_backward(self, backward: Backward) -> None:
        """The tick is over: its tensors are let go."""
        self._waiting.clear()

    def on_end(self) -> None:
        """Let go of what a tick that never ended has kept."""
        self._waiting.clear()
        self._known.clear()


def _sizes(tensor: Any) -> list[int]:
    shape: tuple[int, ...] = tuple(getattr(tensor, "shape", ()))
    return [size for size in shape if size != 1]
