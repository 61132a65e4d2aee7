"""Scale initial weights by fan-in for the unit used, so that signals keep their size through depth.

A layer multiplies the size of what passes it by its gain. Over many layers gains below one make
signal and gradient vanish, gains above one make them explode. He's draw (variance 2 / fan-in) keeps
the size under ReLU, Xavier's under tanh.

Against: norm layers and residual connections make it less critical. torch's default draw for Linear
and Conv is not this (variance 1 / (3 fan-in), a gain of 0.41 a layer under ReLU): plain ReLU
networks of 10 layers reached 74-93 % with it and 95-98 % with He's; of 20 layers 9-10 % (chance)
and 94-96 %. Weights that are zero by design are left out, and so is the output layer, which may be
drawn small.

Check: the sizes (root mean square) of outputs and of weight gradients at the first backward, along
the longest row of layers. First against last hidden layer beyond a factor of 1,000 is a warning;
eight or more plain layers drawn by default are a note.

Try: He's draw for the hidden layers, with the gain sqrt(2 / (1 + slope^2)) of the unit that follows
(Xavier's for tanh), and biases of zero. Weights must be drawn afresh each time: not for pre-trained
ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nomagic.glimpse import Glimpse
from nomagic.probes.signals import Signal, Signals
from nomagic.probes.trace import NORMS, Graph, Node, Trace
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Setup

SOURCES = ("BYU", "LEC98", "HE15", "C230")


FACTOR = 1e3  # healthy networks of all families stay within 100
SHORT = 4  # layers, the output layer included; fewer cannot vanish
DEEP = 8
DEFAULT = (0.52, 0.63)  # torch draws uniformly within 1 / sqrt(fan-in): 0.577, give or take
SKIPS = frozenset({"add", "__add__", "__iadd__", "add_", "__radd__", "cat", "concat"})
SPARSE = frozenset({"embedding", "embedding_bag"})


@dataclass(frozen=True)
class Chain:
    """Layers that follow one another, the output layer left out, and their weights' rows."""

    layers: tuple[Node, ...]
    weights: tuple[Signal, ...]
    plain: bool


def check(trace: Trace, signals: Signals) -> Iterator[Outcome]:
    """The longest row of layers of each graph."""
    chains = [_chain(number, graph, signals) for number, graph in enumerate(trace)]
    long = [chain for chain in chains if len(chain.layers) >= SHORT - 1]
    if not long:
        yield NotApplicable(f"no row of {SHORT} or more weighted layers was seen in training")
        return
    told: set[object] = set()
    for chain in long:
        place = chain.layers[0].anchor
        if place not in told:
            told.add(place)
            yield from _judge(chain)


def _chain(number: int, graph: Graph, signals: Signals) -> Chain:
    best: dict[int, tuple[Node, ...]] = {}
    for node in graph.nodes:
        row = max((best.get(index, ()) for index in node.inputs), key=len, default=())
        new = node.weighted and node.parameters and node.name not in SPARSE
        if new and row and row[-1].root != node.root:
            row = ()  # another network: a discriminator behind its generator
        if new and all(node.layer != other.layer for other in row):
            row = (*row, node)
        best[node.index] = row
    layers = max(best.values(), key=len, default=())[:-1]
    rows = {row.weight: row for row in signals if row.graph == number}
    weights = [
        next((rows[name] for name in layer.parameters if name in rows), None) for layer in layers
    ]
    plain = not any(node.name in NORMS or _skips(graph, node) for node in graph.nodes)
    return Chain(layers, tuple(weight for weight in weights if weight is not None), plain)


def _skips(graph: Graph, node: Node) -> bool:
    return node.name in SKIPS and len({i for i in node.inputs if i >= 0}) > 1 and graph.hidden(node)


def _judge(chain: Chain) -> Iterator[Outcome]:
    outputs = [layer.rms for layer in chain.layers]
    gradients = [weight.gradient for weight in chain.weights]
    ratio = _ratio(outputs)
    # past a norm or a skip a weight's gradient says little: an attention's queries get almost none
    back = _ratio(gradients[::-1]) if chain.plain else 1.0
    first, last = chain.layers[0].layer, chain.layers[-1].layer
    drawn = [weight for weight in chain.weights if DEFAULT[0] <= weight.gain <= DEFAULT[1]]
    if _far(ratio) or _far(back):
        way = "vanish" if (ratio if _far(ratio) else back) < 1 else "explode"
        yield Finding(
            message=f"signals or gradients {way} with depth before the first step",
            seen=f"from {first} to {last} ({len(outputs)} layers) outputs go from "
            f"{outputs[0]:.2g} to {outputs[-1]:.2g}"
            + (f", gradients from {gradients[0]:.2g} to {gradients[-1]:.2g}" if gradients else ""),
            fix="draw weights with nn.init.kaiming_normal_ (ReLU) or xavier_normal_ (tanh), "
            "or add norm layers or residual connections",
            place=chain.layers[0].anchor,
        )
    elif chain.plain and len(drawn) >= DEEP:
        yield Finding(
            message="a deep plain network starts from torch's default draw, "
            "which shrinks signals with depth",
            seen=f"{len(drawn)} layers with a gain near 0.58 (He's draw: 1.41), no norm layer, "
            f"no skip; the gradient of {first} is {back:.2g} of that of {last}",
            fix="draw weights with nn.init.kaiming_normal_(weight, nonlinearity='relu')",
            severity="note",
            place=chain.layers[0].anchor,
        )


def _ratio(sizes: list[float]) -> float:
    """The last size over the first; 1 where either is zero, as by design, or too few are known."""
    if len(sizes) < SHORT - 1 or not sizes[0] or not sizes[-1]:
        return 1.0
    return sizes[-1] / sizes[0]


def _far(ratio: float) -> bool:
    return not 1 / FACTOR <= ratio <= FACTOR


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Initial weights for the units that follow."""
    from nomagic.parts.inits import rescale, scales, unscaled
    from nomagic.parts.rehearsal import arms, fresh

    first, second = (
        [scale.weight for scale in scales(fresh(setup, glimpse, seed), glimpse.sample)]
        for seed in (0, 1)
    )
    if not first:
        yield NotApplicable("there is no hidden layer that a unit follows")
    elif any(bool((a == b).all()) for a, b in zip(first, second, strict=False)):
        yield NotApplicable("weights are the same in two fresh networks: they are not drawn")
    elif not any(unscaled(glimpse.model, glimpse.sample)):
        yield NotApplicable("weights are scaled by fan-in for their units: it is followed already")
    else:
        edit = Edit("scaled-init", rescale)
        what = f"He's draw for the hidden layers ({len(first)}), biases zero"
        yield from arms(setup, glimpse, [(edit, what)])
