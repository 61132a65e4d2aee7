"""Keep sigmoid and tanh out of deep hidden layers: they saturate and block gradients.

The slope of the sigmoid is at most 1/4, so each layer shrinks the gradient; after a few layers
nothing arrives at the first ones. ReLU and its kin pass it on, and are cheaper.

Against: gates in LSTMs and attention need sigmoids, outputs too, and both are left alone. With
batch norm before it a sigmoid is harmless (MIS17: 47.5 %, ReLU 47.1 %), and tanh with the right
initial scale trains 20 layers (96-98 %): the initial scale matters more than the unit. Networks
that compute derivatives of their output need smooth units.

Check: hidden sigmoids, no gates, with no norm before them, that follow one another through weighted
layers. Three or more are a warning when the first layer's gradient was measured below a tenth of
the last one's and the loss did not fall by half, else a note; five or more tanh are a note.

Try: ReLU in place of every hidden sigmoid and tanh, with the initial weights that are there, and
with He's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.descent import Descent
from nomagic.probes.signals import Signals
from nomagic.probes.trace import NORMS, Graph, Node, Trace
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Place, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("002", "004", "BYU", "KRI12", "MIS17")
PROMISE = Promise("ImageNet: tanh 40.1 %, ReLU 47.1 % accuracy", "MIS17", "helps", 7.0)
SATURATING = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})

DEEP = {"sigmoid": 3, "tanh": 5}  # 20 layers of sigmoid stay at chance; one or two are harmless
BLOCKED = 0.1  # each default-drawn sigmoid layer takes the gradient to about 0.14
HALF = 0.5  # of the first loss: a network that gets there trains all the same
UNITS = {"sigmoid": "sigmoid", "sigmoid_": "sigmoid", "tanh": "tanh", "tanh_": "tanh"}


@dataclass(frozen=True)
class Stack:
    """Hidden units of one kind that follow one another, with the layers that feed them."""

    kind: str
    units: tuple[Node, ...]
    layers: tuple[Node, ...]


def check(trace: Trace, signals: Signals, descent: Descent) -> Iterator[Outcome]:
    """Rows of hidden sigmoids or tanhs, each line once."""
    if not any(node.name in UNITS for graph in trace for node in graph.nodes):
        yield NotApplicable("no sigmoid or tanh was seen in training")
        return
    told: set[object] = set()
    for number, graph in enumerate(trace):
        for kind in ("sigmoid", "tanh"):
            stack = _stack(graph, kind)
            if len(stack.units) < DEEP[kind] or stack.units[0].anchor in told:
                continue
            told.add(stack.units[0].anchor)
            left = _left(number, stack, signals)
            yield _finding(stack, left, _fell(descent, graph.place))


def _stack(graph: Graph, kind: str) -> Stack:
    """The longest row of such units, each fed by its own layer (a loop over time counts once)."""
    best: dict[int, tuple[tuple[Node, Node], ...]] = {}
    longest: tuple[tuple[Node, Node], ...] = ()
    for node in graph.nodes:
        row = max((best.get(index, ()) for index in node.inputs), key=len, default=())
        layer = graph.feeder(node) if UNITS.get(node.name) == kind else None
        if (
            layer is not None
            and _counts(graph, node)
            and all(layer.layer != other.layer for _, other in row)
        ):
            row = (*row, (node, layer))
        best[node.index] = row
        longest = max(longest, row, key=len)
    return Stack(kind, tuple(unit for unit, _ in longest), tuple(layer for _, layer in longest))


def _counts(graph: Graph, node: Node) -> bool:
    normed = any(source.name in NORMS for source in graph.sources(node))
    return graph.hidden(node) and not graph.gates(node) and not normed


def _left(number: int, stack: Stack, signals: Signals) -> float | None:
    """What is left of the last layer's gradient at the first, or None where it was not measured."""
    sizes = {row.weight: row.gradient for row in signals if row.graph == number}
    first, last = (
        next((sizes[name] for name in layer.parameters if name in sizes), 0.0)
        for layer in (stack.layers[0], stack.layers[-1])
    )
    return first / last if first and last else None


def _fell(descent: Descent, place: Place | None) -> bool:
    """Whether the loss fell by half all the same."""
    losses = [loss.value for loss in descent if loss.place == place and loss.finite]
    few = max(1, len(losses) // 10)
    return len(losses) > 1 and sum(losses[-few:]) < HALF * sum(losses[:1]) * few


def _finding(stack: Stack, left: float | None, fell: bool) -> Finding:
    blocked = stack.kind == "sigmoid" and left is not None and left < BLOCKED and not fell
    measured = f"; the first layer's gradient was {left:.2g} of the last one's" if left else ""
    return Finding(
        message=f"{len(stack.units)} hidden {stack.kind} layers in a row "
        + ("block the gradient" if blocked else "shrink the gradient"),
        seen=f"{stack.kind} after {', '.join(layer.layer for layer in stack.layers[:6])}{measured}",
        fix="use ReLU, LeakyReLU or GELU in hidden layers, or put a norm layer before each unit"
        + (
            ""
            if stack.kind == "sigmoid"
            else "; with tanh, draw weights with nn.init.xavier_uniform_"
        ),
        severity="warning" if blocked else "note",
        place=stack.units[0].anchor,
    )


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """ReLU for sigmoid and tanh, as it is and with its own initial scale."""
    from nomagic.parts.rehearsal import arms

    edits = [
        (Edit("no-sigmoid-tanh", rectify), "sigmoid and tanh become relu"),
        (Edit("no-sigmoid-tanh-scaled", rectify_and_scale), "they become relu, with He's weights"),
    ]
    yield from arms(setup, glimpse, edits)


def rectify(model: nn.Module, sample: Tensor) -> nn.Module:
    """Make hidden sigmoids and tanhs ReLUs."""
    from torch import nn

    from nomagic.parts.surgery import swap_units

    return swap_units(model, sample, SATURATING, nn.ReLU)


def rectify_and_scale(model: nn.Module, sample: Tensor) -> nn.Module:
    """The same, and draw the hidden layers' weights for ReLU."""
    from nomagic.parts.inits import rescale

    return rescale(rectify(model, sample), sample)
