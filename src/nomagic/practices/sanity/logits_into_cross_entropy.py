"""Feed the loss what it expects: cross entropy takes logits, NLL takes log-probabilities.

Cross entropy applies log-softmax itself. Given probabilities it squashes them a second time: the
logits now lie in [0, 1], the gradient is small, and the loss cannot fall below ln(1 + (C - 1) / e),
1.461 for ten classes, however well the network knows the answer. The same goes for a sigmoid before
BCE-with-logits. NLL loss the other way round applies no logarithm: given probabilities its value is
minus the probability, given raw logits it has no lower end.

Against: log-softmax twice is harmless, because it changes nothing the second time. Soft targets
(distillation) are right: only the input must be logits. A softmax that is applied only to show
probabilities is right, too.

Check: what made the loss input, at the first call of each training line, and the values of every
call looked at. A softmax or a sigmoid straight before a loss that applies one is a fault, whatever
its axis; so are inputs that lie in [0, 1] and sum to 1 in every row of every call, since logits do
not do that by chance. Logits that happen to lie in [0, 1] are silent; for BCE-with-logits they are
a warning if that holds in ten calls or more and no layer with weights made them. NLL fed by a layer
with weights whose rows are no log-probabilities is a fault; fed by a log-softmax along another axis
than that of the classes, a warning. Probabilities into cross entropy only
while evaluating are a warning: the figure is wrong, the training is not.
"""

import math
from collections.abc import Iterable, Iterator

from nomagic.probes.losses import Loss, Losses
from nomagic.probes.trace import Node
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Picture, Place, Series

SOURCES = ("KTW", "BYU")

SQUASHERS = frozenset({"softmax", "softmin", "gumbel_softmax", "sigmoid", "hardsigmoid"})
HARMLESS = frozenset({"log_softmax", "log", "log_sigmoid"})
SAFETY = frozenset({"clamp", "clip", "clamp_", "clamp_min", "nan_to_num"})
"""What stands between probabilities and their logarithm to keep it finite."""
KEEPS = frozenset(
    {"add", "sub", "mean", "sum", "amax", "dropout", "relu", "gelu", "silu", "tanh", "leaky_relu"}
    | {"layer_norm", "batch_norm", "avg_pool2d", "max_pool2d", "adaptive_avg_pool2d"}
)
"""Between a layer and the loss these do not turn logits into log-probabilities."""
ENOUGH = 10
"""Calls in which values must lie in [0, 1] before that speaks against logits without a proof."""
ALL = 0.9999
"""Share of the rows or values that counts as every one: the rest is rounding."""
MOST = 0.95
"""Share of the rows that counts as the rule."""
JUDGED = ("cross_entropy", "nll", "bce_with_logits", "bce", "kl_div")


def check(losses: Losses) -> Iterator[Outcome]:
    """Losses fed with what is already squashed, or not yet."""
    rows = list(losses.training(*JUDGED))
    if not rows:
        unseen = losses.trouble and not any(losses.training())
        reason = "no training loss of classes was seen"
        yield CouldNotLook(losses.trouble) if unseen else NotApplicable(reason)
        return
    faults = [finding for row in rows for finding in judge(row)]
    yield from unique(faults)
    if not faults:
        yield from unique(f for row in losses if not row.training for f in evaluated(row))


def judge(row: Loss) -> Iterator[Finding]:
    """The finding for one training loss, if there is one."""
    squasher = squashed(row)
    if squasher is not None:
        yield twice(row, squasher)
    elif lacks_logarithm(row):
        yield no_logarithm(row)
    elif row.kind == "nll" and is_raw(row):
        yield raw(row)
    elif row.kind == "nll" and is_sideways(row):
        yield sideways(row)
    elif row.kind == "cross_entropy" and is_probabilities(row):
        yield twice(row, None)
    elif row.kind == "bce_with_logits" and is_bounded(row):
        yield bounded(row)


def squashed(row: Loss) -> Node | None:
    """The squashing function whose result the loss squashes again."""
    nodes = list(row.made)
    if row.kind == "cross_entropy":
        return first(beyond_safety(without(nodes, HARMLESS - {"log"})))
    if row.kind == "bce_with_logits":
        return first(beyond_safety(nodes))
    if row.kind == "nll" and nodes and nodes[0].name == "log_softmax":
        return first(beyond_safety(nodes[1:]))
    if row.kind == "bce" or (row.kind == "nll" and nodes and nodes[0].name == "log"):
        nodes = beyond_safety(nodes[row.kind == "nll" :])
        return first(beyond_safety(nodes[1:])) if first(nodes) is not None else None
    return None


def without(nodes: list[Node], names: frozenset[str]) -> list[Node]:
    """The nodes from the first one on that has none of these names."""
    kept = (i for i, node in enumerate(nodes) if node.name not in names)
    return nodes[next(kept, len(nodes)) :]


def beyond_safety(nodes: list[Node]) -> list[Node]:
    """The nodes without those in front that only keep a logarithm finite."""
    safe = (node.name in SAFETY or (node.name == "add" and len(node.shapes) == 1) for node in nodes)
    return nodes[next((i for i, skipped in enumerate(safe) if not skipped), len(nodes)) :]


def first(nodes: list[Node]) -> Node | None:
    """The first node, if it is a squashing function."""
    return nodes[0] if nodes and nodes[0].name in SQUASHERS else None


def is_probabilities(row: Loss) -> bool:
    """Whether every row of every call lies in [0, 1] and sums to 1."""
    certain = row.elements * row.calls >= 8 and row.classes > 1
    return certain and row.seen.sum_to_one > ALL and row.seen.input.in_unit > ALL


def lacks_logarithm(row: Loss) -> bool:
    """Whether a loss that wants log-probabilities is fed by a squashing function, or looks so."""
    wants = row.kind in ("nll", "kl_div")
    return wants and (first(list(row.made)) is not None or is_probabilities(row))


def is_raw(row: Loss) -> bool:
    """Whether NLL is fed by a layer with weights, and its rows are no log-probabilities."""
    after = without(list(row.made), KEEPS)
    weighted = bool(after) and after[0].weighted
    return weighted and row.classes > 1 and row.seen.log_sum_to_zero < 0.5


def is_sideways(row: Loss) -> bool:
    """Whether log-softmax ran along another axis: almost no row sums to 1 along the classes."""
    logged = bool(row.made) and row.made[0].name == "log_softmax" and not row.handmade
    return logged and row.classes > 1 and row.seen.log_sum_to_zero < 1 - MOST


def is_bounded(row: Loss) -> bool:
    """Whether logits of ten calls or more never left [0, 1], and no layer made them directly."""
    after = without(list(row.made), KEEPS)
    known = bool(after) and after[0].weighted
    return not known and row.calls >= ENOUGH and row.seen.input.in_unit >= 1


def evaluated(row: Loss) -> Iterator[Finding]:
    """The finding for cross entropy of probabilities in an evaluation."""
    if row.kind == "cross_entropy" and is_probabilities(row):
        yield Finding(
            message="The evaluation computes cross entropy of probabilities",
            seen=f"{sums(row)}; {floor(row)}",
            fix="compute the evaluation loss from the logits, before the softmax",
            place=row.place,
        )


def twice(row: Loss, node: Node | None) -> Finding:
    """The finding for an input that is squashed before the loss squashes it."""
    name = node.name.replace("_", " ") if node is not None else "softmax"
    again = {"cross_entropy": "log-softmax", "bce_with_logits": "a sigmoid"}.get(row.kind, "one")
    who = "the loss" if row.kind in ("cross_entropy", "bce_with_logits") else "the script"
    return Finding(
        message=f"The loss input went through a {name}, and {who} then applies {again} again",
        seen=f"{sums(row)}; {floor(row)}; {course(row)}",
        fix=f"give the loss the logits: drop the {name}{where(node)}",
        severity="fault",
        place=row.place,
    )


def no_logarithm(row: Loss) -> Finding:
    """The finding for probabilities into a loss that wants log-probabilities."""
    node = first(list(row.made))
    return Finding(
        message=f"The {row.name} loss expects log-probabilities and gets probabilities",
        seen=f"input in [{row.seen.input.low:.3g}, {row.seen.input.high:.3g}]; {sums(row)}; "
        f"{course(row)}: no logarithm is ever taken",
        fix=f"use log_softmax instead of softmax{where(node)}, or cross entropy on the logits",
        severity="fault",
        place=row.place,
    )


def raw(row: Loss) -> Finding:
    """The finding for raw logits into NLL."""
    return Finding(
        message="The nll loss expects log-probabilities and gets raw logits",
        seen=f"input in [{row.seen.input.low:.3g}, {row.seen.input.high:.3g}], "
        f"{1 - row.seen.log_sum_to_zero:.0%} of the rows do not sum to 1 as probabilities; "
        f"{course(row)}: it has no lower end",
        fix="use cross entropy, or apply log_softmax before the loss",
        severity="fault",
        place=row.place,
    )


def sideways(row: Loss) -> Finding:
    """The finding for a log-softmax along the wrong axis."""
    return Finding(
        message="The log-softmax before the nll loss does not run along the classes",
        seen=f"{1 - row.seen.log_sum_to_zero:.0%} of the rows do not sum to 1 along the "
        f"{row.classes} classes (axis 1 of {row.input_shape})",
        fix=f"log_softmax(…, dim=1): the axis of the classes{where(row.made[0])}",
        place=row.place,
    )


def bounded(row: Loss) -> Finding:
    """The finding for logits that look like probabilities."""
    return Finding(
        message="The logits look like probabilities: BCE-with-logits applies a sigmoid itself",
        seen=f"all inputs of {row.calls} calls lie in [{row.seen.input.low:.3g}, "
        f"{row.seen.input.high:.3g}]; {floor(row)}",
        fix="give the loss what the last layer returns, without a squashing function",
        place=row.place,
    )


def sums(row: Loss) -> str:
    """What the rows of the input sum to, or where its values lie."""
    if row.classes > 1 and row.seen.sum_to_one > ALL:
        return f"all rows of the input sum to 1 in {row.calls} calls"
    return f"input in [{row.seen.input.low:.3g}, {row.seen.input.high:.3g}] in {row.calls} calls"


def floor(row: Loss) -> str:
    """What the loss cannot fall below."""
    if row.kind == "cross_entropy" or (row.kind == "nll" and row.classes > 1):
        said = f"with {row.classes} classes the loss of a hard target cannot fall below"
        return f"{said} {least(row.classes):.3f}"
    return "the loss cannot fall below 0.313 for a positive and 0.693 for a negative target"


def course(row: Loss) -> str:
    """How the loss went, per element."""
    return f"it went from {row.first.plain:.3f} to {row.last.plain:.3f}"


def where(node: Node | None) -> str:
    """The line of a function, to be added to a fix."""
    return f" ({node.anchor})" if node is not None and node.anchor is not None else ""


def unique(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding for each line."""
    seen: set[Place | None] = set()
    for finding in findings:
        if finding.place not in seen:
            seen.add(finding.place)
            yield finding


def least(classes: int) -> float:
    """The lowest cross entropy of probabilities in place of logits."""
    return math.log(1 + (classes - 1) / math.e)


def show(losses: Losses) -> Iterator[Picture]:
    """The loss above the line that it cannot cross, where its input is squashed twice."""
    for row in losses.training("cross_entropy"):
        if squashed(row) is None or len(row.history) < 2 or row.classes < 2:
            continue
        ends = (float(row.history[0][0]), float(row.history[-1][0]))
        low, chance = least(row.classes), math.log(row.classes)
        steps = tuple(float(tick) for tick, _ in row.history)
        yield Picture(
            f"Cross entropy at {row.place}",
            "Squashed twice, the loss cannot fall below the lower line, however well the network "
            "knows the answer; a network that knows nothing is at the upper one.",
            "backward pass",
            "loss (nats)",
            (
                Series("loss", steps, tuple(value for _, value in row.history)),
                Series(f"out of reach below {low:.3f}", ends, (low, low), kind="guide"),
                Series(f"chance: {chance:.3f}", ends, (chance, chance), kind="guide"),
            ),
        )
