"""Put ReLU after max pooling, not before: the result is the same and fewer numbers are computed.

Max pooling and a unit that never decreases can change places: the largest of the rectified is the
rectified largest, bit for bit, gradients included.

Against: the saving is tiny beside the convolution. It holds for monotone units only: not for GELU,
SiLU, Mish, Hardswish or PReLU with a negative slope, and for no average pool; batch norm cannot
move past the pool.

Check: a monotone unit whose output goes into max pooling and nowhere else is a note, with what
moving it would save.

Try: every such pair changes places. Outputs, gradients and buffers are compared bit for bit on real
inputs for several draws of the weights; what is equal is proven, not tried, and only timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Edit, Finding, NotApplicable, Outcome, Proof, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nomagic.parts.flow import Call, Flow

SOURCES = ("002",)

DRAWS = 4  # of the initial weights, for the proof

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


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Proof | NotApplicable]:
    """The unit after the pool, proven to compute the same."""
    from nomagic.parts.proof import difference, seconds
    from nomagic.parts.rehearsal import fresh, rehearse
    from nomagic.parts.surgery import SurgeryError

    edit = Edit("relu-after-maxpool", exchange)
    try:
        rehearse(setup, glimpse, edit)
    except SurgeryError as error:
        yield NotApplicable(str(error))
        return
    changed = replace(setup, edits=(*setup.edits, edit))
    for seed in range(DRAWS):
        before, after = fresh(setup, glimpse, seed), fresh(changed, glimpse, seed)
        different = difference(before, after, glimpse.sample, seed)
        if different:
            yield NotApplicable(f"it would change the result: {different} differs (draw {seed})")
            return
    how = f"outputs, gradients and buffers are equal, bit for bit, in {DRAWS} draws of the weights"
    before, after = fresh(setup, glimpse), fresh(changed, glimpse)
    yield Proof(edit.name, changed, how, *seconds(before, after, glimpse.sample))


def exchange(model: nn.Module, sample: Tensor) -> nn.Module:
    """Put units behind the max pools that they feed."""
    from torch import nn

    from nomagic.parts.flow import MAX_POOLS, UNITS, observe
    from nomagic.parts.surgery import SurgeryError, lift, substitute

    names = (MONOTONE & UNITS.keys()) | MAX_POOLS.keys()
    model = lift(model, sample, names, lambda flow: [c for pair in _rows(flow) for c in pair], True)
    flow = observe(model, sample)
    rows = _rows(flow)
    inside = {call for row in rows for call in row}
    new: dict[nn.Module, nn.Module] = {}
    for unit, pool in rows:
        if unit.module is None or pool.module is None:
            continue
        if inside.issuperset(flow.of(unit.module) + flow.of(pool.module)):
            new[pool.module] = nn.Sequential(pool.module, unit.module)
            new[unit.module] = nn.Identity()
    if not new:
        raise SurgeryError("no monotone unit stands right before max pooling")
    return substitute(model, new)


def _rows(flow: Flow) -> list[tuple[Call, Call]]:
    """Each monotone unit that feeds a max pool and nothing else, with the pool."""
    units = [call for call in flow.calls if call.role == "unit" and call.name in MONOTONE]
    users = [(unit, flow.users(unit)) for unit in units]
    return [(unit, found[0]) for unit, found in users if [f.role for f in found] == ["max pool"]]
