"""End the network in a linear layer: no activation on the output unless the loss wants it.

A ReLU as the last step cannot give a negative number and has no gradient where it is off; tanh
cannot leave [-1, 1]. Where targets lie outside what the output can reach, the error there is
permanent. Before cross entropy a ReLU throws away the lower half of the evidence, and a class whose
logit is off for every sample gets no gradient.

Against: bounded targets may well have a bounded output (a sigmoid for images in [0, 1], tanh for
[-1, 1]); positive quantities may have a softplus or a ReLU, even if noise makes some measured
values slightly negative. Tanh with a factor (soft capping of logits) is deliberate.

Check: the function that made the loss input, at the first call of each training line. Regression
targets of which a tenth or more lies outside its range, and not by mere noise (the furthest by
about their own spread), are a fault: they cannot be reached. So is ReLU before BCE-with-logits
where there are negatives: their probability cannot fall below one half. ReLU, GELU, tanh and the
like before cross entropy are a warning, those with a negative slope a note. A sigmoid before plain
BCE is right but numerically weaker than BCE-with-logits, a note. Softmax and sigmoid before losses
that apply them again belong to logits-into-cross-entropy. Only targets that are data are judged,
not those that another network made.
"""

import math
from collections.abc import Iterator

from nomagic.probes.losses import REGRESSION, Loss, Losses
from nomagic.probes.trace import Node
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Place, Severity

SOURCES = ("BYU",)

RANGES: dict[str, tuple[float, float]] = {
    "relu": (0, math.inf),
    "relu_": (0, math.inf),
    "relu6": (0, 6),
    "softplus": (0, math.inf),
    "sigmoid": (0, 1),
    "hardsigmoid": (0, 1),
    "softmax": (0, 1),
    "tanh": (-1, 1),
    "softsign": (-1, 1),
    "hardtanh": (-1, 1),
    "gelu": (-0.17, math.inf),
    "silu": (-0.28, math.inf),
    "mish": (-0.31, math.inf),
    "hardswish": (-0.375, math.inf),
    "elu": (-1, math.inf),
    "celu": (-1, math.inf),
    "selu": (-1.76, math.inf),
    "leaky_relu": (-math.inf, math.inf),
    "rrelu": (-math.inf, math.inf),
    "prelu": (-math.inf, math.inf),
}
"""What each activation can return."""
SQUASHERS = frozenset({"sigmoid", "hardsigmoid", "softmax"})
SLOPED = frozenset({"leaky_relu", "rrelu", "prelu", "elu", "celu", "selu"})
"""Activations that still tell negative inputs apart."""
HALF = frozenset({"relu", "relu_", "relu6", "softplus"})
"""Activations of which a sigmoid makes at least one half."""
DROPOUTS = frozenset({"dropout", "feature_dropout", "alpha_dropout"})
LOGS = frozenset({"log_softmax", "log"})

MUCH = 0.1
"""Share of unreachable targets from which it is not noise; standard scores have 0.5 below 0."""
FAR = 0.9
"""How far outside the furthest target must be, as a share of the targets' standard deviation."""


def check(losses: Losses) -> Iterator[Outcome]:
    """Activations whose output goes straight into a training loss."""
    rows = list(losses.training())
    if not rows:
        reason = "no training loss of an input and a target was seen"
        yield CouldNotLook(losses.trouble) if losses.trouble else NotApplicable(reason)
        return
    places: set[Place | None] = set()
    for row in rows:
        node = output(row)
        finding = judge(row, node) if node is not None else None
        if finding is not None and finding.place not in places:
            places.add(finding.place)
            yield finding


def output(row: Loss) -> Node | None:
    """The activation that made the loss input, looking through the softmax of the loss."""
    made = [node for node in row.made if node.name not in DROPOUTS]
    while row.kind in ("nll", "cross_entropy") and made and made[0].name in LOGS | {"softmax"}:
        made = made[1:]
    return made[0] if made and made[0].name in RANGES else None


def judge(row: Loss, node: Node) -> Finding | None:
    """The finding for one loss and the activation before it, if there is one."""
    if row.kind in REGRESSION or row.kind == "gaussian_nll":
        return regression(row, node)
    if row.kind == "bce" and node.name == "sigmoid":
        return weaker(row, node)
    if row.kind in ("cross_entropy", "nll") and node.name not in SQUASHERS:
        return classes(row, node)
    if row.kind == "bce_with_logits" and node.name not in SQUASHERS:
        return binary(row, node)
    return None


def regression(row: Loss, node: Node) -> Finding | None:
    """Unreachable targets."""
    if any(made.weighted for made in row.target_chain):
        return None
    low, high = limits(node)
    target = row.seen.target
    share = beyond(row, low, high)
    far = max(low - target.low, target.high - high)
    if not (share >= MUCH and far > FAR * math.sqrt(target.variance)):
        return None
    return Finding(
        message=f"The output ends in {node.name}, which cannot reach the targets",
        seen=f"{node.name} returns {interval(low, high)}; the targets lie in [{target.low:.3g}, "
        f"{target.high:.3g}], {share:.0%} of them out of reach",
        fix=f"drop the {node.name} after the last layer, or scale the targets into its range",
        severity="fault",
        place=node.anchor,
    )


def limits(node: Node) -> tuple[float, float]:
    """What the activation can return, as it was called."""
    low, high = RANGES[node.name]
    if node.name == "hardtanh":
        low = float(node.settings.get("min_val", low))
        high = float(node.settings.get("max_val", high))
    return low, high


def beyond(row: Loss, low: float, high: float) -> float:
    """The share of the targets outside, as far as shares beyond -1, 0 and 1 tell."""
    target = row.seen.target
    below = target.negative if low > -1 else target.below_minus_one
    above = target.above_one
    return (below if target.low < low else 0) + (above if target.high > high else 0)


def interval(low: float, high: float) -> str:
    """A range in words."""
    if math.isinf(high):
        return f"nothing below {low:g}"
    return f"only [{low:g}, {high:g}]"


def classes(row: Loss, node: Node) -> Finding:
    """An activation on the logits of cross entropy."""
    sloped = node.name in SLOPED
    low, high = limits(node)
    seen = f"the logits come out of {node.name}"
    if not sloped:
        seen += f", which returns {interval(low, high)}"
    if math.isfinite(high - low) and row.classes > 1:
        least = math.log1p((row.classes - 1) * math.exp(low - high))
        seen += f": with {row.classes} classes the loss cannot fall below {least:.3f}"
    return Finding(
        message=f"There is a {node.name} between the last layer and cross entropy",
        seen=f"{seen}; the loss went from {row.first.plain:.3f} to {row.last.plain:.3f}",
        fix=f"drop the {node.name} after the last layer: cross entropy takes any numbers",
        severity="note" if sloped else "warning",
        place=node.anchor,
    )


def binary(row: Loss, node: Node) -> Finding:
    """An activation on the logits of a binary cross entropy."""
    negatives = 1 - row.seen.target.mean
    proven = node.name in HALF and negatives > 0.01
    severity: Severity = "fault" if proven else "note" if node.name in SLOPED else "warning"
    low, high = limits(node)
    seen = f"{node.name} returns {interval(low, high)}"
    if proven:
        seen += (
            f", so that no probability falls below one half; {negatives:.0%} of the targets are 0, "
            "and their loss cannot fall below 0.693"
        )
    return Finding(
        message=f"There is a {node.name} between the last layer and BCE-with-logits",
        seen=seen,
        fix=f"drop the {node.name} after the last layer: the loss takes any numbers",
        severity=severity,
        place=node.anchor,
    )


def weaker(row: Loss, node: Node) -> Finding:
    """A sigmoid and a plain BCE."""
    return Finding(
        message="A sigmoid and BCE are numerically weaker than BCE-with-logits",
        seen=f"BCE at {row.place} gets the output of a sigmoid; its logarithm is cut off at -100",
        fix="drop the sigmoid and use binary_cross_entropy_with_logits",
        severity="note",
        place=node.anchor,
    )
