"""How large signals and gradients are at the start, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward
from nomagic.probes.trace import Trace, rms


@dataclass(frozen=True, slots=True)
class Signal:
    """One weight of a network when its ``graph`` was taken, which is mostly before the first step.

    ``gradient`` is the root mean square of its gradient (0: it has none), ``gain`` its standard
    deviation times the root of its fan-in: 0.58 is torch's default draw, 1.41 is He's.
    """

    graph: int
    weight: str
    gradient: float
    gain: float


class Signals(Probe[Signal]):
    """One row for each weight of each graph in `Trace`, which knows the sizes of the outputs."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace,)

    def on_gradients(self, backward: Backward) -> None:
        """Gradients have flowed: keep their sizes where this backward's graph is new."""
        trace = self.run.probe(Trace)
        if not trace.numbers or trace[-1].tick != backward.tick:
            return
        used = {name for node in trace[-1].nodes for name in node.parameters}
        for root in self.run.roots():
            for parameter in root.parameters():
                if parameter.ndim >= 2 and self.run.name(parameter) in used:
                    self._add(len(trace) - 1, self.run.name(parameter), parameter)

    def _add(self, graph: int, name: str, weight: Any) -> None:
        grad = weight.grad
        fan = weight[0].numel()
        size = 0.0 if grad is None else rms(grad)
        self.rows.append(Signal(graph, name, size, rms(weight) * fan**0.5))
