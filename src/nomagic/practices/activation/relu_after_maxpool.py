"""Put ReLU after max pooling, not before: the result is the same and fewer numbers are computed.

Max pooling and a unit that never decreases can change places: the largest of the rectified is the
rectified largest, bit for bit, gradients included.

Against: the saving is tiny beside the convolution. It holds for monotone units only: not for GELU,
SiLU, Mish, Hardswish or PReLU with a negative slope, and for no average pool; batch norm cannot
move past the pool.

Check: a monotone unit whose output goes into max pooling and nowhere else is a note, with what
moving it would save.
"""

from collections.abc import Iterator
from math import prod

from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002",)

MONOTONE = frozenset(
    [
        "relu",
        "relu_",
        "leaky_relu",
        "leaky_relu_",
        "elu",
        "elu_",
        "selu",
        "selu_",
        "celu",
        "celu_",
        "softplus",
        "sigmoid",
        "sigmoid_",
        "tanh",
        "tanh_",
        "hardtanh",
        "hardtanh_",
        "relu6",
        "hardsigmoid",
    ]
)  # PReLU is left out: its slope may be or become negative
POOLS = frozenset(
    f"{kind}max_pool{dimensions}d{more}"
    for kind in ("", "adaptive_")
    for dimensions in (1, 2, 3)
    for more in ("", "_with_indices")
)


def check(trace: Trace) -> Iterator[Outcome]:
    """Pairs of a monotone unit and a max pool behind it, one finding for each network."""
    if not any(node.name in POOLS for graph in trace for node in graph.nodes):
        yield NotApplicable("no max pooling was seen in training")
        return
    told: set[object] = set()
    for graph in trace:
        pairs = [pair for pair in _pairs(graph) if pair[0].anchor not in told]
        told.update(unit.anchor for unit, _ in pairs)
        if pairs:
            yield _finding(pairs)


def _pairs(graph: Graph) -> list[tuple[Node, Node]]:
    pairs: list[tuple[Node, Node]] = []
    for node in graph.nodes:
        users = list(graph.consumers(node, frozenset())) if node.name in MONOTONE else []
        if len(users) == 1 and users[0].name in POOLS:
            pairs.append((node, users[0]))
    return pairs


def _finding(pairs: list[tuple[Node, Node]]) -> Finding:
    unit, pool = pairs[0]
    before = sum(prod(unit.shape) for unit, _ in pairs)
    after = sum(prod(pool.shape) for _, pool in pairs)
    place = unit.place.line if unit.place is not None else "?"
    return Finding(
        message=f"{unit.name} comes before max pooling; after it, the result is the same "
        "and costs less",
        seen=f"{len(pairs)} such pair{'s' * (len(pairs) > 1)}, the first in line {place}: "
        f"{before:,} numbers rectified "
        f"per step where {after:,} would do ({(before - after) * 4 / 2**20:.1f} MB less to "
        "keep in float32)",
        fix=f"swap the two: {pool.name} first, then {unit.name}",
        severity="note",
        place=unit.anchor,
    )
