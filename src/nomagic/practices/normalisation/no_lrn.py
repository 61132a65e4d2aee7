"""Leave local response normalisation out: it costs much and gains nothing.

It divides each number by the size of its neighbours across channels. Batch norm replaced it, and
max pooling does its share more cheaply.

Against: the two are not alternatives, one normalises and the other pools. AlexNet gained 1.4 points
from it (KRI12); a controlled comparison found nothing (MIS17: 47.0 % with, 47.1 % without).

Check: its use is a note with its share of the time of a step, timed on noise of the same shape
after the run; above 20 % it is a warning. One that is written by hand is a note.

Try: every local response norm is taken out, or, where batches have 8 samples or more, becomes batch
norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.lrns import Lrns
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Place, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("002", "KRI12", "MIS17")
PROMISE = Promise("ImageNet: 47.0 % with it, 47.1 % without", "MIS17", "no difference", 0.1)
FEWEST = 8  # samples of a batch that batch norm needs

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


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """No local response norm, or batch norm in its place."""
    from nomagic.parts.rehearsal import arms

    edits = [(Edit("no-lrn", partial(leave_out, batch=False)), "local response norm is taken out")]
    if setup.batch_size >= FEWEST:
        edit = Edit("no-lrn-but-batch-norm", partial(leave_out, batch=True))
        edits.append((edit, "batch norm in place of local response norm"))
    yield from arms(setup, glimpse, edits)


def leave_out(model: nn.Module, sample: Tensor, batch: bool) -> nn.Module:
    """Take local response norms out; with ``batch``, put batch norms in their place."""
    from torch import nn

    from nomagic.parts.flow import observe
    from nomagic.parts.surgery import SurgeryError, lift, norm, substitute

    name = "local_response_norm"
    model = lift(model, sample, {name}, apart=batch)
    flow = observe(model, sample)
    new: dict[nn.Module, nn.Module] = {}
    for call in flow.calls:
        if call.name == name and call.module is not None:
            new[call.module] = (norm("batch", flow, call) if batch else None) or nn.Identity()
    if not new:
        raise SurgeryError("there is no local response norm in the network: it is followed already")
    return substitute(model, new)
