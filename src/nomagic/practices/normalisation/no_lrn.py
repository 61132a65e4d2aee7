"""Leave local response normalisation out: it costs much and gains nothing.

It divides each number by the size of its neighbours across channels. Batch norm replaced it, and
max pooling does its share more cheaply.

Against: the two are not alternatives, one normalises and the other pools. AlexNet gained 1.4 points
from it (KRI12); a controlled comparison found nothing (MIS17: 47.0 % with, 47.1 % without).

Check: its use is a note with its share of the time of a step, timed on noise of the same shape
after the run; above 20 % it is a warning. One that is written by hand is a note.
"""

from collections.abc import Iterator

from nomagic.probes.lrns import Lrns
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Finding, NotApplicable, Outcome, Place

SOURCES = ("002", "KRI12", "MIS17")

COSTLY = 0.2  # of a step; a 3x3 convolution of the same size costs half as much as one LRN
QUOTIENTS = frozenset({"div", "__truediv__", "true_divide", "divide", "div_", "__itruediv__"})
POWERS = frozenset({"pow", "__pow__", "pow_", "square"})
POOLS = frozenset({"avg_pool1d", "avg_pool2d", "avg_pool3d", "conv1d", "conv2d", "conv3d"})
TIMES = frozenset({"mul", "__mul__"})


def check(lrns: Lrns, trace: Trace) -> Iterator[Outcome]:
    """The calls of torch's own with their cost, and those written by hand."""
    places = list(dict.fromkeys(row.place for row in lrns))
    for place in places:
        share = sum(row.share for row in lrns if row.place == place)
        seconds = sum(row.seconds for row in lrns if row.place == place)
        measured = f"; it takes {seconds * 1e3:.2g} ms, {share:.0%} of a step" if seconds else ""
        yield _finding(
            place, f"{next(r.shape for r in lrns if r.place == place)}{measured}", share > COSTLY
        )
    by_hand = {node.place for graph in trace for node in graph.nodes if _by_hand(graph, node)}
    for place in by_hand:
        yield _finding(place, "a quotient by a power of the mean of squares over channels", False)
    if not places and not by_hand:
        yield NotApplicable("no local response normalisation was seen")


def _by_hand(graph: Graph, node: Node) -> bool:
    """Whether it is x / (k + a * pool(x * x)) ** b with a broken exponent."""
    sources = list(graph.sources(node)) if node.name in QUOTIENTS else []
    if len(sources) < 2 or sources[1].name not in POWERS or not _broken(sources[1]):
        return False
    pool = next((up for up in _up(graph, sources[1]) if up.name in POOLS), None)
    if pool is None:
        return False
    return any(
        up.name in POWERS or (up.name in TIMES and len(set(up.inputs)) == 1)
        for up in _up(graph, pool)
    )


def _up(graph: Graph, node: Node, steps: int = 6) -> list[Node]:
    return [up for up, _ in zip(graph.above(node), range(steps), strict=False)]


def _broken(node: Node) -> bool:
    numbers = [
        v for v in node.settings.values() if isinstance(v, int | float) and not isinstance(v, bool)
    ]
    return any(0 < number < 1 and number != 0.5 for number in numbers)


def _finding(place: Place | None, seen: str, costly: bool) -> Finding:
    return Finding(
        message="local response normalisation costs much and gains nothing",
        seen=f"local response norm: {seen}",
        fix="leave it out, or use batch norm",
        severity="warning" if costly else "note",
        place=place,
    )
