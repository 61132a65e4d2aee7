"""Watch for saturation: a tanh or sigmoid at its limits passes almost no gradient.

Beyond 0.97 the slope of tanh is below 6 %, outside 0.03 to 0.97 that of the sigmoid is below 3 %.
Weights drawn too large, inputs that are not scaled or too high a learning rate drive units there,
and the layers below stop learning.

Against: a few saturated units are normal late in training, gates are meant to open and close, and
outputs and binary codes are meant to be extreme. So only hidden units that are no gates are judged,
and only when they saturate from the start on.

Check: the share of saturated outputs of each hidden tanh or sigmoid, in the first and the last
looks. More than half in both is a warning; more than 90 % at the end alone is a note, and a warning
where the weights below get less than a thousandth of the gradient of those above. A layer on one to
three coordinates is left out: its units step at different points, so together they pass gradient
everywhere.
"""

from collections.abc import Iterator

from nomagic.probes.activations import Activation, Activations
from nomagic.probes.parameters import Parameters, Weight
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002", "LEC98", "CS231")

HALF = 0.5  # scaled inputs and weights leave 0-20 % at the start
NEARLY_ALL = 0.9
BLOCKED = 1e-3  # of the gradient per weight above that is left below
COORDINATES = (1, 2, 3)  # inputs of a layer that spreads its steps over time or space
LOOKS = 10  # fewer say nothing about how a run begins and ends


def check(activations: Activations, trace: Trace, parameters: Parameters) -> Iterator[Outcome]:
    """Hidden units that are saturated throughout, else those that end so."""
    hidden = [row for row in activations if row.kind != "relu" and _hidden(row, trace)]
    if not hidden:
        yield NotApplicable("no hidden tanh or sigmoid outside of gates was seen in training")
        return
    looked = [row for row in hidden if row.looks >= LOOKS]
    stuck = [row for row in looked if min(row.flat) > HALF]
    late = [row for row in looked if row not in stuck and row.flat[1] > NEARLY_ALL]
    if stuck:
        yield _finding(
            stuck, "saturated from the start: it passes almost no gradient to the layers below"
        )
        return
    weights = {weight.name: weight for weight in parameters}
    blocking = [row for row in late if _blocks(row, trace, weights)]
    if blocking:
        yield _finding(
            blocking, f"saturated in the end: next to no gradient reaches {blocking[-1].layer}"
        )
    elif late:
        yield _finding(
            late, "saturated in the end: what lies below it has stopped learning", "note"
        )


def _hidden(row: Activation, trace: Trace) -> bool:
    spots = trace.at(row.nodes)
    return (
        row.inputs not in COORDINATES
        and bool(spots)
        and all(_plain(graph, node) for graph, node in spots)
    )


def _blocks(row: Activation, trace: Trace, weights: dict[str, Weight]) -> bool:
    """Whether, in the last look, what lies below it got next to no gradient."""
    for graph, node in trace.at(row.nodes):
        feeder = graph.feeder(node)
        user = next((user for user in graph.below(node) if user.weighted), None)
        below, above = _gradient(feeder, weights), _gradient(user, weights)
        if below is not None and above and below < BLOCKED * above:
            return True
    return False


def _gradient(node: Node | None, weights: dict[str, Weight]) -> float | None:
    """The last gradient measured of a layer's weights, root mean square."""
    names = node.parameters if node is not None else ()
    weight = next((w for name in names if (w := weights.get(name)) and len(w.shape) > 1), None)
    if weight is None or not weight.looks or not weight.sampled:
        return None
    return weight.looks[-1].gradient / weight.sampled**0.5


def _plain(graph: Graph, node: Node) -> bool:
    return graph.hidden(node) and not graph.gates(node) and not graph.exposed(node)


def _finding(rows: list[Activation], what: str, severity: str = "warning") -> Finding:
    worst = max(rows, key=lambda row: row.flat)
    start, end = worst.flat
    others = f"; {len(rows)} layers in all" if len(rows) > 1 else ""
    return Finding(
        message=f"a hidden {worst.kind} is {what}",
        seen=f"after {worst.layer}: {start:.0%} of the outputs at the limits in the first steps, "
        f"{end:.0%} in the last{others}",
        fix="scale the inputs, draw smaller weights (nn.init.xavier_uniform_) or lower the "
        "learning rate",
        severity="note" if severity == "note" else "warning",
        place=worst.place,
    )
