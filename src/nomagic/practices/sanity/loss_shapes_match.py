"""Give the loss an input and a target of the same shape: (N, 1) against (N,) broadcasts silently.

A difference of a column and a row is a table: every prediction is compared with every target. The
mean of the table is smallest when all predictions are the mean of the targets, so the network
learns to ignore its input, and the loss still falls.

Against: tables of differences are wanted in pairwise distances, kernels and contrastive losses, and
a single column is often spread over the columns of the target on purpose (quantiles).

Check: shapes of input and target at regression and binary losses, from torch or written out as
``((a - b) ** 2).mean()``. A fault if they are the same up to axes of length 1 and broadcasting
makes more elements than either has. If input and target have the same number of axes, each with a 1
where the other has none, that may be deliberate: a warning where no reshaping is seen, else
silent. So is a written-out difference whose side is given an axis on that very line. Losses of
single samples that are multiplied with weights of another shape are judged alike.
"""

import math
from collections.abc import Iterator

from nomagic.probes.losses import BINARY, KINDS, REGRESSION, Loss, Losses
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Place

SOURCES = ("KAR",)

Shape = tuple[int, ...]

RESHAPING = frozenset({"unsqueeze", "__getitem__", "view", "reshape", "expand", "T", "t", "mT"})
PRODUCTS = frozenset({"mul", "__mul__", "__rmul__"})


def check(losses: Losses, trace: Trace) -> Iterator[Outcome]:
    """Losses whose input and target broadcast, and weights that broadcast against losses."""
    rows = [row for row in losses if row.kind in REGRESSION | BINARY]
    if not any(losses.training()):
        reason = "no training loss of an input and a target was seen"
        yield CouldNotLook(losses.trouble) if losses.trouble else NotApplicable(reason)
        return
    places: set[Place | None] = set()
    for finding in (*differences(rows), *weights(trace)):
        if finding.place not in places:
            places.add(finding.place)
            yield finding


def differences(rows: list[Loss]) -> Iterator[Finding]:
    """Findings for input against target."""
    for row in sorted(rows, key=lambda row: not row.training):
        table = grown(row.input_shape, row.target_shape)
        if table is None or deliberate(row):
            continue
        certain = len(row.input_shape) != len(row.target_shape)
        yield Finding(
            message=f"Input and target of the {row.name} loss broadcast against each other",
            seen=f"input {row.input_shape}, target {row.target_shape}: {math.prod(table):,} pairs "
            f"of shape {table} instead of {math.prod(row.target_shape):,}; every prediction is "
            "compared with every target, and predicting their mean is the best answer",
            fix="make the shapes equal: squeeze(-1) the output or unsqueeze(-1) the target",
            severity="fault" if certain else "warning",
            place=row.place,
        )


def grown(a: Shape, b: Shape) -> Shape | None:
    """The shape that two shapes, alike but for 1s, broadcast to, if it is larger than both."""
    if a == b or [n for n in a if n != 1] != [n for n in b if n != 1]:
        return None
    length = max(len(a), len(b))
    left, right = ((1,) * (length - len(shape)) + shape for shape in (a, b))
    if any(m != n and 1 not in (m, n) for m, n in zip(left, right, strict=True)):
        return None
    table = tuple(max(m, n) for m, n in zip(left, right, strict=True))
    return table if math.prod(table) > max(math.prod(a), math.prod(b)) else None


def deliberate(row: Loss) -> bool:
    """Whether the script itself added the axes that make the table."""
    sides = [chain[0] for chain in (row.chain, row.target_chain) if chain]
    shaped = [side for side in sides if side.name in RESHAPING and not side.module]
    if len(row.input_shape) == len(row.target_shape):
        return bool(shaped)
    return row.handmade and any(side.place == row.place for side in shaped)


def weights(trace: Trace) -> Iterator[Finding]:
    """Findings for losses of single samples that meet weights of another shape."""
    for graph in trace:
        for node in graph.nodes:
            if node.name in KINDS and node.shape:
                yield from multiplied(graph, node)


def multiplied(graph: Graph, node: Node) -> Iterator[Finding]:
    """Findings for the products that one unreduced loss goes into."""
    for product in graph.consumers(node):
        if product.name not in PRODUCTS or len(product.shapes) != 2:
            continue
        one, other = product.shapes
        table = grown(one, other)
        if table is not None and len(one) != len(other):
            yield Finding(
                message="The weights broadcast against the losses that they should weight",
                seen=f"{one} times {other} is a table of shape {table}: every loss is multiplied "
                "with every weight, and in the mean the weights no longer matter",
                fix="give weights and losses the same shape",
                severity="fault",
                place=product.place,
            )
