"""Hidden activations over the run: units that never fire, and outputs where the slope is flat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Op
from nomagic.probes.trace import Trace, is_wrapped
from nomagic.words import Place

WINDOW = 1_000
"""Samples over which a unit must stay silent to be called dead."""
SITES = 200
"""Activations that are followed; later ones are left out."""
CALLS = 4
"""Calls of one activation that are looked at in one tick: a loop over time steps makes many."""
MOST = 2**20
"""Numbers that are looked at in one call."""
LOOKS = 64
"""Looks of one activation whose share of silent or saturated units is kept."""
ENDS = 5
"""Looks at either end of the run over which the saturated share is averaged."""

RECTIFIERS = frozenset(
    {"relu", "relu_", "relu6", "threshold", "threshold_", "clamp_min", "clamp_min_"}
)
CLAMPS = frozenset({"clamp", "clamp_", "clip", "clip_"})
FLAT = {"tanh": "tanh", "tanh_": "tanh", "sigmoid": "sigmoid", "sigmoid_": "sigmoid"}
LAST = frozenset({"linear", "matmul", "__matmul__", "addmm", "layer_norm", "rms_norm", "einsum"})
"""Functions whose units are the last dimension."""
SECOND = frozenset({"batch_norm", "instance_norm", "group_norm"})
"""Functions other than convolutions whose units are the second."""


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation function of a network, over all its looked-at training calls.

    ``kind`` is ``relu`` (whatever returns exact zeros), ``tanh`` or ``sigmoid``; ``layer`` is the
    layer that feeds it, ``trained`` whether that is not frozen, ``inputs`` how many features it has
    (0: not known). ``never`` is the share of its
    ``units`` that never fired in any of its ``samples``; ``born`` and ``silent`` are the shares
    that never did in the first and in the last 1,000 (nan: fewer were seen). ``flat`` are the
    shares of saturated outputs, beyond 0.97 (tanh) or outside 0.03 to 0.97 (sigmoid), at the start
    and at the end. ``nodes`` are where it is in `Trace`: (graph, node). ``history`` are the shares
    of units that were silent for the last 1,000 samples (of all samples, while there were fewer),
    or of saturated outputs: (optimizer step, share).
    """

    kind: str
    layer: str
    place: Place | None
    units: int
    samples: int
    looks: int
    never: float = 0.0
    born: float = math.nan
    silent: float = math.nan
    flat: tuple[float, float] = (0.0, 0.0)
    nodes: tuple[tuple[int, int], ...] = ()
    trained: bool = True
    inputs: int = 0
    history: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class _Site:
    kind: str
    place: Place | None
    units: int
    channel: int = -1
    layer: str = ""
    trained: bool = True
    inputs: int = 0
    samples: int = 0
    looks: int = 0
    tick: int = -1
    calls: int = 0
    first: Any = None
    last: Any = None
    starts: list[Any] = field(default_factory=list)
    ends: deque[Any] = field(default_factory=lambda: deque(maxlen=ENDS))
    nodes: list[tuple[int, int]] = field(default_factory=list)
    history: list[tuple[int, Any]] = field(default_factory=list)
    spacing: int = 1
    noted: int = -1

    def note(self, step: int, share: Any) -> None:
        """Keep the share of one look; it stays where it is."""
        if self.looks % self.spacing:
            return
        self.history.append((step, share))
        if len(self.history) > LOOKS:
            self.history = self.history[::2]
            self.spacing *= 2


class Activations(Probe[Activation]):
    """One row for each activation function that can die or saturate, by their first calls."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace,)

    def __init__(self, rows: Iterable[Activation] = ()) -> None:
        super().__init__(rows)
        self._sites: dict[Any, _Site] = {}
        self._alone: dict[Any, _Site | None] = {}
        self._heard: list[tuple[int, _Site]] = []

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor."""
        kind = FLAT.get(op.name) or ("relu" if _rectifies(op) else "")
        if not kind or not _dense(op.output):
            return
        site = self._trained(op, kind) if op.grads else self._evaluated(op, kind)
        if site is None:
            return
        if site.tick != self.run.tick:
            site.tick, site.calls = self.run.tick, 0
        site.calls += 1
        if site.calls > CALLS:
            return
        if kind == "relu":
            _note_firing(site, op.output.detach())
        else:
            _note_flat(site, op.output.detach())
        if op.grads and site.noted != self.run.tick:
            site.noted = self.run.tick
            self._keep(site)

    def _keep(self, site: _Site) -> None:
        """Keep the share of units that are silent, or of outputs that are flat, by now."""
        if site.kind != "relu":
            site.note(self.run.steps, (site.ends or site.starts)[-1])
        elif site.last is not None:
            silent = site.last <= max(-1, site.samples - WINDOW)
            site.note(self.run.steps, silent.float().mean())

    def _trained(self, op: Op, kind: str) -> _Site | None:
        """Its site in a training pass: the layer that feeds it tells it from others on its line."""
        trace = self.run.probe(Trace)
        made, parameter = trace.feeder(op.args[0] if op.args else next(iter(op.kwargs.values())))
        if parameter is None:
            return None
        channel = _channel(op.output, made)
        site = self._site(op, kind, parameter, op.output.shape[channel])
        if site is not None:
            site.channel = channel
            site.trained = parameter.requires_grad
            site.inputs = parameter.shape[1] if parameter.ndim > 1 else 0
            site.layer = self.run.name(parameter).rpartition(".")[0] or site.layer
            site.looks += 1
            self._heard.append((trace.newest, site))
        return site

    def _evaluated(self, op: Op, kind: str) -> _Site | None:
        """Its site in an evaluation pass, if it is alone on its line: samples that may fire."""
        site = self._alone.get(self._spot(op, kind)) if kind == "relu" else None
        if (
            site is None
            or op.output.ndim <= site.channel
            or op.output.shape[site.channel] != site.units
        ):
            return None
        return site

    def _spot(self, op: Op, kind: str) -> Any:
        return (kind, self.run.anchor(op), id(op.modules[-1]) if op.modules else 0)

    def _site(self, op: Op, kind: str, parameter: Any, units: int) -> _Site | None:
        # unnamed leaves of functional code may be new tensors in each step: their shape tells
        feeder = id(parameter) if self.run.name(parameter) else tuple(parameter.shape)
        key = (kind, op.place, feeder, units)
        site = self._sites.get(key)
        if site is None and len(self._sites) < SITES:
            site = self._sites[key] = _Site(kind, self.run.anchor(op), units)
            spot = self._spot(op, kind)
            self._alone[spot] = None if spot in self._alone else site
        return site

    def on_backward(self, backward: Backward) -> None:
        """The tick is over: note where its activations are in the graph, if one was kept."""
        trace = self.run.probe(Trace)
        for position, site in self._heard:
            node = trace.numbers.get(position)
            if node is not None and len(site.nodes) < 32:
                site.nodes.append((len(trace) - 1, node))
        self._heard.clear()

    def on_end(self) -> None:
        """Turn what was counted into rows."""
        self._heard.clear()
        self.rows.extend(_row(site) for site in self._sites.values())
        self._sites.clear()
        self._alone.clear()


def _rectifies(op: Op) -> bool:
    if op.name in RECTIFIERS:
        return True
    if op.name not in CLAMPS:
        return False
    low = op.kwargs.get("min", op.args[1] if len(op.args) > 1 else None)
    return isinstance(low, int | float) and low == 0


def _dense(tensor: Any) -> bool:
    from torch import Tensor, strided

    return (
        isinstance(tensor, Tensor)
        and tensor.layout is strided
        and tensor.is_floating_point()
        and not tensor.is_meta
        and not tensor.is_nested
        and tensor.ndim >= 2
        and tensor.numel() > 0
        and not is_wrapped(tensor)
    )


def _channel(output: Any, made: str) -> int:
    """The dimension of the units: the second after a convolution, the last after a linear layer."""
    if output.ndim >= 3 and (made.startswith("conv") or made in SECOND):
        return 1
    return 1 if output.ndim == 4 and made not in LAST else output.ndim - 1


def _note_firing(site: _Site, output: Any) -> None:
    import torch

    channel = site.channel
    others = [d for d in range(output.ndim) if d != channel]
    peak = _fewer(output, channel).amax(others)
    if bool(peak.isnan().any()):  # nothing is known of the units; stop-at-first-nan speaks
        return
    fired = peak > 0
    if output.numel() > MOST and not bool(fired.any()):
        fired = output.amax(others) > 0
    if site.last is None:
        site.first = torch.full_like(fired, 2**62, dtype=torch.int64)
        site.last = torch.full_like(fired, -1, dtype=torch.int64)
    elif site.last.device != fired.device:
        return
    if site.samples < WINDOW:
        site.first.masked_fill_(fired & (site.first > site.samples), site.samples)
    site.samples += output.shape[0]
    site.last.masked_fill_(fired, site.samples)


def _fewer(output: Any, channel: int) -> Any:
    """At most so many numbers of it, thinned out over positions first, then over samples."""
    for dimension in (*range(output.ndim - 1, 0, -1), 0):
        if output.numel() <= MOST:
            break
        if dimension != channel:
            step = min(output.shape[dimension], -(-output.numel() // MOST))
            output = output[(slice(None),) * dimension + (slice(step // 2, None, step),)]
    return output


def _note_flat(site: _Site, output: Any) -> None:
    sample = output.reshape(-1)[:: max(1, output.numel() // 16_384)]
    beyond = sample.abs() > 0.97 if site.kind == "tanh" else (sample - 0.5).abs() > 0.47
    share = beyond.float().mean()
    site.samples += output.shape[0]
    (site.starts if len(site.starts) < ENDS else site.ends).append(share)


def _row(site: _Site) -> Activation:
    never, born, silent = 0.0, math.nan, math.nan
    if site.last is not None:
        never = float((site.last < 0).float().mean())
    if site.last is not None and site.samples >= WINDOW:
        born = float((site.first >= WINDOW).float().mean())
        silent = float((site.last <= site.samples - WINDOW).float().mean())
    start = sum(float(share) for share in site.starts) / max(len(site.starts), 1)
    end = sum(float(share) for share in site.ends) / max(len(site.ends), 1)
    return Activation(
        kind=site.kind,
        layer=site.layer or f"line {site.place.line}" if site.place is not None else "",
        place=site.place,
        units=site.units,
        samples=site.samples,
        looks=site.looks,
        never=never,
        born=born,
        silent=silent,
        flat=(start, end if site.ends else start),
        nodes=tuple(site.nodes),
        trained=site.trained,
        inputs=site.inputs,
        history=tuple((step, float(share)) for step, share in site.history),
    )
