"""What flows through the layers: gradients, updates and activations, by layer and step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from nomagic.evidence.thin import COLUMNS, ROWS, spread_out
from nomagic.probes.activations import Activation, Activations
from nomagic.probes.flow import Flow
from nomagic.probes.parameters import Moves, Parameters, Weight
from nomagic.probes.signals import Signals
from nomagic.probes.slopes import Slopes
from nomagic.probes.trace import Trace
from nomagic.words import Picture, Series

Looks = Sequence[tuple[int, float]]
"""Values and when they were seen, in order."""


def parameters(weights: Parameters) -> Iterator[Picture]:
    """Gradients and relative updates of every weight, step by step, and units that are copies."""
    rows = [weight for weight in weights if weight.looks]
    tensors = [weight for weight in rows if len(weight.shape) > 1] or rows
    yield from _map(
        "Gradients by layer",
        "The size of one number of the gradient (root mean square). A row much paler than those "
        "below it learns more slowly; an empty field: no gradient, or no number.",
        "gradient of one number",
        [
            (weight.name, [(at.step, _gradient(at, weight)) for at in weight.looks])
            for weight in tensors
        ],
    )
    yield from _map(
        "Updates by layer",
        "How far a step moves the weights, as a share of their size; about 0.001 is usual. An "
        "empty field: nothing moved.",
        "update / weight",
        [(weight.name, [(at.step, _ratio(at)) for at in weight.looks]) for weight in tensors],
    )
    yield from _twins(rows)


def activations(seen: Activations) -> Iterator[Picture]:
    """Units that do not fire and outputs that are flat, by layer and step."""
    relus = [one for one in seen if one.kind == "relu"]
    flat = [one for one in seen if one.kind != "relu"]
    yield from _map(
        "Silent units by layer",
        "The share of units that gave zero for all of the last 1,000 samples (of all samples, as "
        "long as there were fewer). What stays dark is dead.",
        "share of silent units",
        [(_layer(one), one.history) for one in relus],
        log="",
    )
    yield from _map(
        "Saturated outputs by layer",
        "The share of outputs where the activation is flat and passes almost no gradient.",
        "share of saturated outputs",
        [(_layer(one), one.history) for one in flat],
        log="",
    )


def flow(signals: Flow) -> Iterator[Picture]:
    """The size of what comes out of each layer, step by step."""
    yield from _map(
        "Signals by layer",
        "The size of one number of what each layer puts out (root mean square). It should neither "
        "die out nor explode from the first row to the last; an empty field: all zero or no "
        "number.",
        "output of one number",
        [(one.layer, one.history) for one in signals],
    )


def signals(sizes: Signals) -> Iterator[Picture]:
    """Gradients and weights by depth before the first step."""
    rows = spread_out([one for one in sizes if one.graph == 0], ROWS)
    names = tuple(one.weight for one in rows)
    if len(names) > 1:
        yield Picture(
            "The network as it starts",
            "From the first weight to the last. A gain of 1.41 keeps the size of signals through "
            "ReLUs, 1 through others; gradients should be of similar size.",
            "",
            "root mean square",
            (
                Series("gain of the weights", names, tuple(one.gain for one in rows),
                       kind="points"),
                Series("gradient", names, tuple(one.gradient or math.nan for one in rows),
                       kind="points"),
            ),
            log="y",
        )  # fmt: skip


def trace(graphs: Trace) -> Iterator[Picture]:
    """The signal by layer in the first pass."""
    nodes = [node for node in (graphs[0].nodes if len(graphs) else ()) if node.parameters]
    rows = spread_out([node for node in nodes if node.rms > 0], ROWS)
    if len(rows) > 1:
        names = tuple(f"{at}. {node.module or node.name}" for at, node in enumerate(rows, 1))
        yield Picture(
            "Signals in the first pass",
            "The size of what each layer puts out, from the first to the last.",
            "",
            "root mean square",
            (Series("output", names, tuple(node.rms for node in rows), kind="points"),),
            log="y",
        )


def slopes(learnt: Slopes) -> Iterator[Picture]:
    """The slopes that PReLU layers learnt."""
    rows = spread_out(list(learnt), ROWS)
    names = tuple(one.name for one in rows)
    if names:
        middle = tuple((one.low + one.high) / 2 for one in rows)
        low, high = tuple(one.low for one in rows), tuple(one.high for one in rows)
        yield Picture(
            "Learnt slopes",
            "The slopes for negative inputs, from the smallest to the largest of each layer.",
            "",
            "slope",
            (
                Series("learnt", names, middle, low, high, kind="points"),
                Series("at the start", names, tuple(one.start for one in rows), kind="points"),
            ),
        )


# -- maps -----------------------------------------------------------------------------------------


def _map(
    title: str, says: str, shade: str, rows: Sequence[tuple[str, Looks]], log: str = "y"
) -> Iterator[Picture]:
    """A map of layers by step: the steps that some row has, the value last seen until each."""
    kept = spread_out([(name, looks) for name, looks in rows if looks], ROWS)
    steps = spread_out(sorted({step for _, looks in kept for step, _ in looks}), COLUMNS)
    if len(steps) < 2:
        return
    series = tuple(
        Series(name, tuple(float(step) for step in steps), tuple(_held(looks, steps)), kind="map")
        for name, looks in kept
    )
    if any(math.isfinite(y) and (y > 0 or not log) for one in series for y in one.y):
        yield Picture(title, says, "step", shade, series, "y" if log else "", "layer")


def _held(looks: Looks, steps: Sequence[int]) -> Iterator[float]:
    """The value that was last seen at each step; nan before the first."""
    at, value = 0, math.nan
    for step in steps:
        while at < len(looks) and looks[at][0] <= step:
            value = looks[at][1]
            at += 1
        yield value


def _gradient(moves: Moves, weight: Weight) -> float:
    return moves.gradient / math.sqrt(max(1, weight.sampled))


def _ratio(moves: Moves) -> float:
    return moves.update / moves.weight if moves.weight > 0 else math.nan


def _layer(one: Activation) -> str:
    return f"{one.kind} after {one.layer}" if one.layer else one.kind


def _twins(rows: Sequence[Weight]) -> Iterator[Picture]:
    found = [one for one in rows if one.twins is not None and one.twins.start][:ROWS]
    if found:
        names = tuple(one.name for one in found)
        both = [one.twins for one in found if one.twins is not None]
        yield Picture(
            "Units that are copies of others",
            "Copies that get the same gradient stay copies, and count as one unit.",
            "",
            "units",
            (
                Series("at the start", names, tuple(float(t.start) for t in both), kind="bars"),
                Series("later", names, tuple(float(t.end) for t in both), kind="bars"),
            ),
        )
