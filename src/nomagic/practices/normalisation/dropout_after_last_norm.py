"""Place dropout after the last batch norm: before one, it shifts the variance between modes.

Dropout makes activations vary more in training. A batch norm behind it learns that variance, and in
evaluation, where nothing is dropped, divides by too much.

Against: wide networks suffer little, and a mild rate can help (MIS17: with batch norm 0.2 gave 52.7
%, none 51.3 %, 0.5 49.9 %). With dropout before batch norm in every block a DenseNet fell from 77.4
to 68.6 % (LI18).

Check: a dropout with a batch norm downstream and no other norm between is a note. It is a warning
where a copy of the trained network shows the harm on a training batch without dropout: the variance
that enters some batch norm lies outside 0.67 to 1.5 of that with dropout, and the loss with the
running statistics is half as high again, and by 0.1, as with the batch's own.
"""

from collections.abc import Iterator

from nomagic.probes.dropouts import NAMES
from nomagic.probes.trace import NORMS, Graph, Node, Trace
from nomagic.probes.variances import Variance, Variances
from nomagic.words import Finding, NotApplicable, Outcome, Place

SOURCES = ("KAR", "LI18", "MIS17")

BAND = (0.67, 1.5)  # of the variance, as LI18 measures the shift
WORSE = 1.5  # times the loss with the batch's own statistics
APART = 0.1


def check(trace: Trace, variances: Variances) -> Iterator[Outcome]:
    """Dropouts that feed a batch norm, with the harm where it could be measured."""
    if not any(_drops(node) for graph in trace for node in graph.nodes):
        yield NotApplicable("no dropout was seen in training")
        return
    told: set[Place | None] = set()
    for graph in trace:
        pairs = [
            (node, norm) for node in graph.nodes if _drops(node) and (norm := _norm(graph, node))
        ]
        if pairs and pairs[0][0].anchor not in told:
            told.add(pairs[0][0].anchor)
            yield _finding(pairs, next((v for v in variances if v.place == graph.place), None))


def _drops(node: Node) -> bool:
    return (
        node.name in NAMES
        and bool(node.settings.get("p"))
        and node.settings.get("training") is not False
    )


def _norm(graph: Graph, node: Node) -> Node | None:
    """The batch norm that this feeds before any other norm."""
    seen: set[int] = set()
    queue = [node]
    while queue:
        for user in graph.consumers(queue.pop(0), frozenset()):
            if user.index in seen:
                continue
            seen.add(user.index)
            if user.name == "batch_norm" and user.settings.get("training"):
                return user
            if user.name not in NORMS:
                queue.append(user)
    return None


def _finding(pairs: list[tuple[Node, Node]], shift: Variance | None) -> Finding:
    dropout, norm = pairs[0]
    harm = shift is not None and not BAND[0] <= shift.ratio <= BAND[1] and _worse(shift)
    measured = (
        f"; without dropout the variance into {shift.norm} is {shift.ratio:.2f} of that "
        "with it, the loss of a training batch "
        f"{shift.running:.3g} with running statistics, {shift.batch:.3g} with the batch's own"
        if shift is not None
        else ""
    )
    return Finding(
        message="dropout before batch norm shifts the variance between training and evaluation",
        seen=f"dropout(p={dropout.settings.get('p'):g}) feeds "
        f"{norm.module or 'a batch norm'}{measured}",
        fix="move dropout behind the last batch norm, or lower its rate",
        severity="warning" if harm else "note",
        place=dropout.anchor,
    )


def _worse(shift: Variance) -> bool:
    return shift.running > WORSE * shift.batch and shift.running - shift.batch > APART
