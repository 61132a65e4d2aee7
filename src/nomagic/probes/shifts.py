"""How dropout shifts the variance that batch norm sees, measured on copies of the network."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.dropouts import NAMES
from nomagic.probes.probe import Probe
from nomagic.probes.tape import Tape, Tapes
from nomagic.probes.trace import Trace
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nomagic.replay import Replay

DRAWS = 4
"""Draws of dropout that are averaged."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What dropout does to batch norm in the network whose loss is computed for the backward at ``place``.

    ``ratio`` is the variance that enters the batch norm named ``norm`` without dropout over that with it, the
    furthest from one of all. ``running`` is the loss of a training batch in evaluation mode, ``batch`` the same with the
    batch's own statistics in place of the running ones.
    """

    place: Place | None
    norm: str
    ratio: float
    running: float
    batch: float


class Shifts(Probe[Shift]):
    """One row for each training pass with both dropout and batch norm that could be replayed."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace, Tapes)

    def experiment(self) -> None:
        """Replay each pass from the last weights, with and without dropout."""
        from nomagic.replay import CannotReplayError, Replay

        both = {graph.place for graph in self.run.probe(Trace) if _both(graph.nodes)}
        for tape in self.run.probe(Tapes):
            if tape.place in both and time.perf_counter() < self.run.deadline:
                try:
                    Replay(tape).verify()
                    self.rows.extend(_measured(tape))
                except CannotReplayError as error:
                    self.trouble = str(error)


def _both(nodes: Any) -> bool:
    return {"batch_norm"} <= {node.name for node in nodes} and any(n.name in NAMES for n in nodes)


def _measured(tape: Tape) -> Iterator[Shift]:
    import torch

    from nomagic.replay import Replay, Spy

    with torch.no_grad():
        dropped = _variances(Replay(tape, final=True), DRAWS)
        with Spy(dropout=False):
            whole = _variances(Replay(tape, final=True), 1)
            running = float(Replay(tape, final=True).eval().loss())
            own = Replay(tape, final=True).eval()
            for norm in _norms(own):
                norm.train()
            batch = float(own.loss())
    ratios = {
        name: float((whole[name].sum() / dropped[name].sum()).nan_to_num(1.0)) for name in whole
    }
    if ratios:
        name = max(ratios, key=lambda name: max(ratios[name], 1 / max(ratios[name], 1e-6)))
        yield Shift(tape.place, name, ratios[name], running, batch)


def _variances(replay: Replay, draws: int) -> dict[str, Tensor]:
    """The variance of each channel that enters each batch norm, summed over some training passes."""
    found: dict[str, Tensor] = {}

    def note(name: str, args: Any) -> None:
        given = args[0]
        others = [d for d in range(given.ndim) if d != 1]
        variance = given.double().var(others)
        found[name] = found[name] + variance / draws if name in found else variance / draws

    for name, norm in _named(replay):
        hook = functools.partial(note, name)
        norm.register_forward_pre_hook(lambda _, args, hook=hook: hook(args))
    for module in replay.modules:
        module.train()
    for _ in range(draws):
        replay.loss()
    return found


def _named(replay: Replay) -> Iterator[tuple[str, nn.Module]]:
    from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

    for root in replay.modules:
        for name, module in root.named_modules():
            if isinstance(module, _BatchNorm):
                yield name or type(module).__name__, module


def _norms(replay: Replay) -> list[nn.Module]:
    return [norm for _, norm in _named(replay)]
