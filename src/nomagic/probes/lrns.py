"""Local response normalisation: where it is, and what it costs of a step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Op
from nomagic.words import Place

SITES = 20
"""Lines that are kept."""
TRIES = 7
"""Times that one is timed; the fastest counts, as it is least disturbed."""
QUICK = 0.1
"""Of the ticks, the share that is quicker than what counts as undisturbed."""
LARGEST = 2**26
"""Numbers in a tensor that is still timed."""


@dataclass(frozen=True, slots=True)
class Lrn:
    """One call of local response normalisation in training.

    ``seconds`` is what it takes forward and backward, timed on noise of its ``shape`` after the run
    (0: not timed), ``share`` that of the time of a forward and backward.
    """

    place: Place | None
    shape: tuple[int, ...]
    settings: tuple[float, ...]
    device: str
    dtype: str
    seconds: float = 0.0
    share: float = 0.0


class Lrns(Probe[Lrn]):
    """One row for each line with local response normalisation."""

    def __init__(self, rows: Iterable[Lrn] = ()) -> None:
        super().__init__(rows)
        self._known: set[Any] = set()

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor."""
        if op.name != "local_response_norm" or not op.grads:
            return
        place = self.run.anchor(op)
        key = (place, id(op.modules[-1]) if op.modules else 0, tuple(op.output.shape))
        if key in self._known or len(self.rows) >= SITES:
            return
        self._known.add(key)
        given = [*op.args[1:], *op.kwargs.values()]
        numbers = tuple(value for value in given if isinstance(value, int | float))
        kind = str(op.output.dtype).removeprefix("torch.")
        self.rows.append(Lrn(place, tuple(op.output.shape), numbers, str(op.output.device), kind))

    def experiment(self) -> None:
        """Time each on noise of its shape, forward and backward."""
        step = self._step()
        for index, row in enumerate(self.rows):
            if time.perf_counter() < self.run.deadline:
                seconds = _timed(row)
                self.rows[index] = replace(
                    row, seconds=seconds, share=seconds / step if step else 0.0
                )

    def _step(self) -> float:
        """Seconds of an undisturbed forward and backward, without looks if there were such."""
        times, spans = self.run.times, self.run.spans
        if spans:
            return sorted(spans)[int(QUICK * len(spans))]
        return (times["forward"] + times["backward"]) / max(self.run.timed, 1)


def _timed(row: Lrn) -> float:
    import torch
    from torch.nn.functional import local_response_norm

    noise = torch.randn(row.shape, dtype=getattr(torch, row.dtype), device=row.device)
    if noise.numel() > LARGEST:
        return 0.0
    noise.requires_grad_()
    spent: list[float] = []
    for _ in range(TRIES):
        began = time.perf_counter()
        with torch.enable_grad():
            output = local_response_norm(noise, int(row.settings[0]), *row.settings[1:])
        torch.autograd.grad(output, noise, noise.detach())
        if noise.is_cuda:
            torch.cuda.synchronize(noise.device)
        spent.append(time.perf_counter() - began)
    return min(spent)
