"""Watch for dead units: a ReLU that never fires passes no gradient and cannot recover.

A unit that is negative for every sample has a gradient of exactly zero. Too high a learning rate or
too negative a bias kills many units at once; when a whole layer dies, everything below it stops
learning.

Against: some silence is wanted, sparse codes are useful (GLO11). Healthy networks on digits had 6
to 23 % units that were never active after training and up to 47 % at the start, so small shares
mean nothing. Frozen layers and codes that a penalty keeps sparse are left alone.

Check: in hidden layers, the share of units that never fired in the last 1,000 samples seen. All of
them is a fault: the gradient of that layer is zero. Half of them or more, and 25 points more than
in the first 1,000 samples, is a warning (the run killed them), as are 90 % from the start.
"""

from collections.abc import Iterator

from nomagic.probes.activations import Activation, Activations
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002", "CS231", "GLO11")

MANY = 0.5  # healthy nets end at 6-23 %, runs with a rate that is too high at 45-100 %
RISE = 0.25  # a unit that is silent from its first draw on says nothing about the run
NEARLY_ALL = 0.9
ENOUGH = 256  # samples that prove a layer dead which never fired at all
FEW = 4  # units: so small a layer (a squeeze) may fall silent without harm
SORTED = frozenset({"topk", "kthvalue", "sort", "argsort"})  # winner-take-all codes


def check(activations: Activations, trace: Trace) -> Iterator[Outcome]:
    """Dead layers, else dying ones."""
    rectifiers = [row for row in activations if row.kind == "relu"]
    if not rectifiers:
        yield NotApplicable("no activation that returns exact zeros was seen in training")
        return
    hidden = [row for row in rectifiers if row.trained and _hidden(row, trace)]
    dead = [row for row in hidden if _dead(row)]
    dying = [row for row in hidden if row not in dead and _dying(row)]
    if dead:
        yield _fault(dead)
    elif dying:
        yield _warning(dying)


def _dead(row: Activation) -> bool:
    if row.units < FEW:
        return False
    return row.silent == 1.0 or (row.never == 1.0 and row.samples >= ENOUGH)


def _dying(row: Activation) -> bool:
    if row.units < 4 * FEW:
        return False
    killed = row.silent >= MANY and row.silent - row.born >= RISE
    return killed or row.silent >= NEARLY_ALL


def _hidden(row: Activation, trace: Trace) -> bool:
    spots = trace.at(row.nodes)
    return bool(spots) and all(_plain(graph, node) for graph, node in spots)


def _plain(graph: Graph, node: Node) -> bool:
    sparse = any(user.name in SORTED for user in graph.consumers(node))
    return graph.hidden(node) and not graph.exposed(node) and not sparse


def _fault(rows: list[Activation]) -> Finding:
    first = rows[0]
    since = "in any" if first.never == 1.0 else "in the last 1,000"
    return Finding(
        message="a whole hidden layer is dead: none of its units fires, its gradient is "
        "exactly zero",
        seen=f"after {first.layer}: 0 of {first.units} units fired {since} of the "
        f"{first.samples:,} samples looked at{_others(rows)}",
        fix="lower the learning rate; check the layer's bias and the scale of its weights "
        "and inputs",
        severity="fault",
        place=first.place,
    )


def _warning(rows: list[Activation]) -> Finding:
    worst = max(rows, key=lambda row: row.silent)
    return Finding(
        message="most units of a hidden layer have died: they fire for no sample any more",
        seen=f"after {worst.layer}: {worst.silent:.0%} of {worst.units} units were silent "
        "in the last "
        f"1,000 samples, {worst.born:.0%} in the first{_others(rows)}",
        fix="lower the learning rate or warm it up; check for large negative biases; "
        "LeakyReLU or PReLU "
        "let silent units recover",
        place=worst.place,
    )


def _others(rows: list[Activation]) -> str:
    return f"; {len(rows)} layers in all" if len(rows) > 1 else ""
