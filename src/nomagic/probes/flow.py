"""How large what comes out of each layer is, look by look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Layer
from nomagic.probes.sampling import ordinary, sample

if TYPE_CHECKING:
    from torch import Tensor, nn

LAYERS = 120
"""Layers that are followed; later ones are left out."""
LOOKS = 96
"""Looks kept of one layer; when more have come, every other one is let go."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The root mean square of one layer's output: (optimizer step, size), in order.

    It is taken over a sample of the output of the layer's first call in each looked training pass.
    """

    layer: str
    kind: str
    history: tuple[tuple[int, float], ...]


@dataclass(slots=True)
class Live:
    """A row in the making; sizes stay where they were computed until the end."""

    layer: str
    kind: str
    tick: int = -1
    spacing: int = 1
    seen: int = 0
    looks: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])

    def add(self, step: int, size: Any) -> None:
        """Keep a look, or every other one where many have come."""
        self.seen += 1
        if self.seen % self.spacing:
            return
        self.looks.append((step, size))
        if len(self.looks) > LOOKS:
            self.looks = self.looks[::2]
            self.spacing *= 2


class Flow(Probe[Signal]):
    """One row for each layer with weights, in the order of their first calls."""

    def __init__(self, rows: Iterable[Signal] = ()) -> None:
        super().__init__(rows)
        self._live: dict[int, Live] = {}

    def on_layer(self, layer: Layer) -> None:
        """A layer ended: keep the size of its output, where that lies."""
        call = layer.call
        if call is None or not call.grads or not _weighs(layer.module):
            return
        output = layer.output
        if not ordinary(output):
            return
        live = self._of(layer.module)
        if live is not None and live.tick != self.run.tick:
            live.tick = self.run.tick
            live.add(self.run.steps, _size(output))

    def _of(self, module: nn.Module) -> Live | None:
        name = self.run.name(module)
        live = self._live.get(id(module))
        if name and (live is None or live.layer != name) and len(self._live) < LAYERS:
            live = self._live[id(module)] = Live(name, type(module).__name__)
        return live if live is not None and live.layer == name else None

    def on_end(self) -> None:
        """The script is over: fetch the sizes, and plain rows."""
        for live in self._live.values():
            history = tuple((step, float(size)) for step, size in live.looks)
            self.rows.append(Signal(live.layer, live.kind, history))
        self._live.clear()


def _weighs(module: nn.Module) -> bool:
    """Whether it is a layer with weights of its own and nothing inside."""
    return bool(module._parameters) and not module._modules  # pyright: ignore[reportPrivateUsage]


def _size(output: Tensor) -> Tensor:
    return sample(output).float().square().mean().sqrt()
