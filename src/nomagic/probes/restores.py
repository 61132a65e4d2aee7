"""What was restored from checkpoints, and what went on training from there."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from nomagic.probes.optimizers import Optimizers, blank
from nomagic.probes.probe import Probe
from nomagic.probes.run import Step
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

PROGRESS = frozenset(("epoch", "epochs", "step", "steps", "global_step", "iteration", "iter", "it"))
"""Keys of a checkpoint that say how far the training had come."""
FILES = 50
"""Checkpoints of one run that are remembered, and"""
TENSORS = 20_000
"""tensors of one."""


@dataclass(frozen=True, slots=True)
class File:
    """What a file held that torch.load read.

    ``optimized``: how many parameters its optimizer state is for, 0 where there is none;
    ``progress``: it says how far the training had come.
    """

    optimized: int = 0
    progress: bool = False
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """A module or an optimizer whose state was loaded.

    ``file`` is where the state came from, None for one in memory. ``whole``: the state fits the
    module key by key. ``optimizer`` is the number of the first optimizer that began to step the
    module's parameters after it, all of them and no others, at the tick ``began``; -1: none did.
    ``blank``: that optimizer remembered nothing before its first step.
    """

    kind: str
    owner: str
    tick: int
    place: Place | None
    file: File | None = None
    whole: bool = False
    optimizer: int = -1
    began: int = -1
    blank: bool = False


@dataclass(slots=True)
class _Live:
    row: Restore
    parameters: set[int] = field(default_factory=set[int])


class Restores(Probe[Restore]):
    """One row for each load_state_dict of a module or an optimizer, in order."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Optimizers,)
    windows: ClassVar[tuple[str, ...]] = ("on_before_step",)

    def __init__(self, rows: Iterable[Restore] = ()) -> None:
        super().__init__(rows)
        self._files: dict[int, tuple[weakref.ref[Tensor], File]] = {}
        self._count = 0
        self._live: list[_Live] = []

    def on_load(self, value: Any, place: Place | None) -> None:
        """A file was read: remember what it held, by its tensors."""
        if self._count >= FILES or not isinstance(value, Mapping):
            return
        self._count += 1
        held = cast("Mapping[Any, Any]", value)
        keys = {str(key).lower() for key in held}
        file = File(max(_optimized(held), default=0), bool(keys & PROGRESS), place)
        for tensor, _ in zip(_tensors(held), range(TENSORS), strict=False):
            self._files[id(tensor)] = (weakref.ref(tensor), file)

    def on_restore(self, owner: Any, state: Any, place: Place | None) -> None:
        """A state was loaded into a module or an optimizer."""
        if len(self._live) >= FILES:
            return
        module = not hasattr(owner, "param_groups")
        kept = self._files.get(id(first := next(_tensors(state), None)))
        row = Restore(
            kind="module" if module else "optimizer",
            owner=type(owner).__name__,
            tick=self.run.tick,
            place=place,
            file=kept[1] if kept is not None and kept[0]() is first else None,
            whole=module and set(state) == set(cast("nn.Module", owner).state_dict()),
        )
        trained = owner.parameters() if module else ()
        self._live.append(_Live(row, {id(p) for p in trained if p.requires_grad}))

    def on_before_step(self, step: Step) -> None:
        """See whether an optimizer that begins goes on with something that was restored."""
        if step.index or not self._live:
            return
        own = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
        for live in self._live:
            row = live.row
            if row.optimizer < 0 and live.parameters and live.parameters == own:
                live.row = Restore(
                    row.kind,
                    row.owner,
                    row.tick,
                    row.place,
                    row.file,
                    row.whole,
                    self.run.probe(Optimizers).number(step.optimizer),
                    step.tick,
                    blank(step.optimizer),
                )

    def on_end(self) -> None:
        """Keep the rows."""
        self.rows = [live.row for live in self._live]
        self._live, self._files = [], {}


def _optimized(value: Any, depth: int = 3) -> Iterator[int]:
    """How many parameters each optimizer state in nested dicts and lists is for."""
    if isinstance(value, Mapping):
        held = cast("Mapping[Any, Any]", value)
        if "param_groups" in held and held.get("state"):
            yield sum(len(group.get("params", ())) for group in held["param_groups"])
        elif depth:
            for item in held.values():
                yield from _optimized(item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in cast("list[Any]", value)[:20]:
            yield from _optimized(item, depth - 1)


def _tensors(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """The tensors in nested dicts."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from _tensors(item, depth - 1)
