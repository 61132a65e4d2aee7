"""How dropout changes the variance that batch norm sees, measured on copies of the network."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.dropouts import NAMES
from nomagic.probes.probe import Probe
from nomagic.probes.tape import Tape
from nomagic.probes.tapes import Tapes
from nomagic.probes.trace import Graph, Trace
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nomagic.replay import Replay

DRAWS = 4
"""Draws of dropout that are averaged."""
SLOW = 1.0
"""Seconds for verifying a replay beyond which no more are run."""


@dataclass(frozen=True, slots=True)
class Variance:
    """What dropout does to batch norm in the pass that ends in the backward at ``place``.

    ``ratio`` is the variance that enters the batch norm named ``norm`` without dropout over that
    with it, the furthest from one of all. ``running`` is the loss of a training batch in evaluation
    mode, ``batch`` the same with the batch's own statistics in place of the running ones.
    """

    place: Place | None
    norm: str
    ratio: float
    running: float
    batch: float


class Variances(Probe[Variance]):
    """One row for each training pass with both dropout and batch norm that could be replayed."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace, Tapes)

    def experiment(self) -> None:
        """Replay each pass from the last weights, with and without dropout."""
        from nomagic.replay import CannotReplayError, Replay

        both = {graph.place for graph in self.run.probe(Trace) if _both(graph)}
        for tape in self.run.probe(Tapes):
            began = time.perf_counter()
            if tape.place not in both or began > self.run.deadline:
                continue
            try:
                Replay(tape).verify()
                if time.perf_counter() - began < SLOW:
                    self.rows.extend(_measured(tape))
            except CannotReplayError as error:
                self.trouble = str(error)


def _both(graph: Graph) -> bool:
    names = {node.name for node in graph.nodes}
    return "batch_norm" in names and bool(names & NAMES)


def _measured(tape: Tape) -> Iterator[Variance]:
    import torch

    from nomagic.replay import Replay, Spy

    with torch.no_grad():
        dropped = _entering(Replay(tape, final=True), DRAWS)
        with Spy(dropout=False):
            whole = _entering(Replay(tape, final=True), 1)
            running = float(Replay(tape, final=True).eval().loss())
            own = Replay(tape, final=True).eval()
            for _, norm in _norms(own):
                norm.train()
            batch = float(own.loss())
    ratios = {
        name: float((whole[name].sum() / dropped[name].sum()).nan_to_num(1.0)) for name in whole
    }
    if ratios:
        name = max(ratios, key=lambda name: max(ratios[name], 1 / max(ratios[name], 1e-6)))
        yield Variance(tape.place, name, ratios[name], running, batch)


def _entering(replay: Replay, draws: int) -> dict[str, Tensor]:
    """The variance of each channel that enters each batch norm, averaged over draws."""
    found: dict[str, Tensor] = {}

    def note(name: str, _: nn.Module, args: Any) -> None:
        given = args[0]
        others = [d for d in range(given.ndim) if d != 1]
        variance = given.double().var(others) / draws
        found[name] = found[name] + variance if name in found else variance

    for name, norm in _norms(replay):
        norm.register_forward_pre_hook(functools.partial(note, name))
    for module in replay.modules:
        module.train()
    for _ in range(draws):
        replay.loss()
    return found


def _norms(replay: Replay) -> Iterator[tuple[str, nn.Module]]:
    from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

    for root in replay.modules:
        for name, module in root.named_modules():
            if isinstance(module, _BatchNorm):
                yield name or type(module).__name__, module
