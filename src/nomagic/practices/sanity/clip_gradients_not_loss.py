"""Clip the gradients, not the loss: a clipped loss silently ignores what it should learn most from.

Beyond the limit a clamp has no slope: samples whose loss is cut off have no gradient at all. They
are the outliers and the hard ones, and they are dropped without a word. Clipping the gradient
keeps its direction.

Against: robust losses bound the influence of outliers on purpose, but smoothly (Huber), and trimmed
or truncated losses do what is described here deliberately. Margins and hinges cut off small losses,
not large ones; the clipped surrogate of PPO and free bits are part of their method.

Check: clamps with an upper limit, minima with a constant and nan_to_num between a loss and what
backward is called on, with nothing but sums, means and factors after them; or on the difference
that is then squared. More than 1 % of the numbers cut over the ticks looked at are a warning. If it
is the whole loss, cut in more than half of the steps, it is a fault: those steps have no gradient.
A value that is used beside its own clamp (the linear branch of a Huber loss) is silent.
"""

from collections.abc import Iterator

from nomagic.probes.clamps import CUTS, Clamp, Clamps
from nomagic.probes.losses import KINDS
from nomagic.probes.trace import PLUMBING, Graph, Node, Trace
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Place

SOURCES = ("KAR",)

ACTIVE = 0.01
"""Share of the numbers cut from which a limit is not just a safety net."""
MOST = 0.5
"""Share of the steps without gradient from which the training itself is in question."""
SCALE = frozenset({"mul", "__mul__", "__rmul__", "div", "truediv", "__truediv__", "neg", "sqrt"})
JOIN = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__", "sum", "mean", "stack", "cat"})
LINEAR = PLUMBING | SCALE | JOIN | {"sub"}
"""What may stand between a cut loss and backward."""
SQUARE = frozenset({"pow", "__pow__", "square", "abs", "mul"})
DIFFERENCE = frozenset({"sub", "subtract", "__rsub__"})
LOGS = frozenset({"log_softmax", "logsumexp", "log"})
PICKS = frozenset({"gather", "__getitem__"})


def check(trace: Trace, clamps: Clamps) -> Iterator[Outcome]:
    """Losses that are cut off."""
    if not len(trace):
        reason = trace.trouble or "no computation graph of a training loss was seen"
        yield CouldNotLook(reason)
        return
    if not len(clamps):
        yield NotApplicable("nothing is clamped in training")
        return
    rows = {(row.name, row.place): row for row in clamps}
    places: set[Place | None] = set()
    for graph in trace:
        for node in graph.nodes:
            row = rows.get((node.name, node.place))
            if row is None or row.cut <= ACTIVE or node.place in places:
                continue
            if cuts_loss(graph, node):
                places.add(node.place)
                yield finding(row)


def cuts_loss(graph: Graph, node: Node) -> bool:
    """Whether this clamp stands between a loss and backward."""
    if node.name not in CUTS or bypassed(graph, node):
        return False
    below = [user for user in graph.below(node) if user.name not in LINEAR]
    if below:
        squared = all(user.name in SQUARE for user in (*below, *graph.consumers(node)))
        return squared and any(source.name in DIFFERENCE for source in graph.sources(node))
    return any(is_loss(graph, source) for source in through(graph, node))


def bypassed(graph: Graph, node: Node) -> bool:
    """Whether what is cut is used elsewhere, too, beside the clamp."""
    return any(
        user.index != node.index
        for index in node.inputs
        if index >= 0
        for user in graph.consumers(graph.nodes[index])
    )


def through(graph: Graph, node: Node) -> Iterator[Node]:
    """What feeds a node, looking through sums, means and factors."""
    for source in graph.sources(node):
        yield source
        if source.name in SCALE | JOIN:
            yield from through(graph, source)


def is_loss(graph: Graph, node: Node) -> bool:
    """Whether a node is a loss: one of torch's, a squared difference, or a log-probability."""
    sources = {source.name for source in graph.sources(node)}
    return (
        node.name in KINDS
        or node.name in LOGS
        or (node.name in SQUARE and bool(sources & DIFFERENCE))
        or (node.name in PICKS and bool(sources & LOGS))
    )


def finding(row: Clamp) -> Finding:
    """The finding for one clamp."""
    what = (
        f"{row.name} cut the loss" if row.scalar else f"{row.name} cut {row.cut:.1%} of the losses"
    )
    limit = f" at {row.high:g}" if row.high == row.high else ""
    often = f" in {row.cut:.0%} of {row.calls} steps looked at" if row.scalar else ""
    dead = "these steps have" if row.scalar else "these samples have"
    return Finding(
        message="The loss is clipped, and what is cut off has no gradient",
        seen=f"{what}{limit}{often}: {dead} a gradient of exactly 0",
        fix="drop the clamp and clip the gradients: torch.nn.utils.clip_grad_norm_ before the step",
        severity="fault" if row.scalar and row.cut > MOST else "warning",
        place=row.place,
    )
