"""Give layers a bias, the output layer above all; drop it only straight before a norm layer.

Without a bias the output of a network is tied to the origin: it has to build the frequencies of the
classes, or the mean of the targets, out of its inputs. Straight before batch norm, which subtracts
the mean, a bias is the opposite: it cannot change anything, and its gradient is zero but for
rounding.

Against: modern transformers drop biases without harm, and heads of language models and heads tied
to an embedding have none. MIS17 lost 2.6 points on ImageNet without any bias.

Check: a layer with weights and no bias straight before a training loss, where the classes seen are
skewed (their entropy a tenth below that of equal classes, at most 1,000 classes) or the mean of the
targets is more than half their spread; and biases of layers whose output goes only to batch or
instance norm that uses the statistics of the batch. Both are notes: neither is proven to cost
anything.
"""

import math
from collections.abc import Iterator

from nomagic.probes.losses import REGRESSION, Loss, Losses
from nomagic.probes.trace import Graph, Node, Trace
from nomagic.words import CouldNotLook, Finding, Outcome, Place

SOURCES = ("BYU", "KTW", "MIS17")

AFFINE = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
CENTRING = frozenset({"batch_norm", "instance_norm"})
EMBEDDINGS = frozenset({"embedding", "embedding_bag"})
SKEWED = 0.9
"""Entropy of the classes seen, as a share of that of equal classes."""
FAR = 0.5
"""Mean of the targets as a share of their standard deviation."""
HEAD = 1000
"""Classes up to which a head is judged; language models have more."""


def check(losses: Losses, trace: Trace) -> Iterator[Outcome]:
    """Heads without a bias that need one, and biases that cannot matter."""
    if not len(trace):
        yield CouldNotLook(trace.trouble or "no computation graph of a training loss was seen")
        return
    places: set[Place | None] = set()
    for finding in (*heads(losses), *redundant(trace)):
        if finding.place not in places:
            places.add(finding.place)
            yield finding


def heads(losses: Losses) -> Iterator[Finding]:
    """Output layers without a bias, where the targets ask for one."""
    for row in losses.training():
        node = row.made[0] if row.made else None
        why = needs(row)
        if node is None or not why or node.name not in AFFINE or len(node.parameters) != 1:
            continue
        if len(row.input_shape) < 3 and not any(made.name in EMBEDDINGS for made in row.made):
            yield Finding(
                message=f"The output layer {node.layer} has no bias",
                seen=f"{why}; without a bias this must come out of the inputs",
                fix="give the output layer a bias",
                severity="note",
                place=node.anchor,
            )


def needs(row: Loss) -> str:
    """What about the targets only a bias can express, in words; empty if there is nothing."""
    target = row.seen.target
    if row.kind in REGRESSION:
        spread = math.sqrt(target.variance)
        far = abs(target.mean) > FAR * spread > 0
        return f"the targets have mean {target.mean:.3g} and spread {spread:.3g}" if far else ""
    if 1 < row.classes <= HEAD and row.entropy < SKEWED * math.log(row.classes):
        most = max(row.counts) / sum(row.counts)
        return f"the most frequent of {row.classes} classes has {most:.0%} of the targets"
    return ""


def redundant(trace: Trace) -> Iterator[Finding]:
    """Biases that the norm behind them subtracts."""
    for graph in trace:
        for node in graph.nodes:
            if node.name in AFFINE and len(node.parameters) == 2 and is_centred(graph, node):
                yield Finding(
                    message=f"The bias of {node.layer} cannot matter: a norm layer subtracts it",
                    seen=f"{node.shapes[-1][0]:,} parameters whose gradient is 0 but for rounding",
                    fix="bias=False",
                    severity="note",
                    place=node.anchor,
                )


def is_centred(graph: Graph, node: Node) -> bool:
    """Whether all that uses the node's output subtracts the mean of each channel from it."""
    users = list(graph.consumers(node, frozenset()))
    return bool(users) and all(
        user.name in CENTRING
        and bool(user.settings.get("training", user.settings.get("use_input_stats", False)))
        for user in users
    )
