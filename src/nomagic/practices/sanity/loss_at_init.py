"""Check the first loss: before any step it should be that of someone who knows nothing.

A fresh network has no opinion. Its cross entropy is ln C for C classes, ln 2 for a yes or no; its
squared error is about the mean square of the targets. A first loss far above says that the network
is confidently wrong before it has seen anything: inputs or weights are too large, or a loss is
fed something else than it expects. Much of the early training then goes into undoing that.

Against: loaded checkpoints and a bias set to the prior legitimately start lower, and a loaded head
for other classes higher. Cosine logits with a large factor start high on purpose. On small targets
the squared error of any fresh network is large compared with their mean square.

Check: the first call of each training loss before any optimizer step, without weights, smoothing
or reduction: recomputed from its input and target. In a script without modules that is the second
one: functions are heard from the first backward on. Cross entropy more than 1.5 nats above ln C
(more for fewer than sixteen samples, whose mean is noisy) is a warning: 480 fresh networks of five
kinds stayed within 1.08, with inputs that are not normalised they start at 1.8 and more. Only
logits that a layer with weights made, of a network that was not loaded, are judged. Regression is
judged by the size of the output: its mean square above 4 times that of the targets, and above 64
where targets are small. Fresh networks of nine kinds on standardised inputs had 0.01 to 30 in nine
draws of ten; residual networks whose variance explodes have hundreds, raw inputs thousands.
"""

import math
from collections.abc import Iterator

from nomagic.probes.losses import BINARY, CLASSES, REGRESSION, Loss, Losses
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Place

SOURCES = ("KAR", "CS231")

EXCESS = 1.5
"""Nats above chance; healthy fresh networks stay within 1.08."""
FEW = 4.0
"""Divided by the samples of the first call: what is granted on top for noise."""
RATIO = 4.0
"""Mean square of a fresh output against that of the targets."""
LARGE = 64.0
"""Mean square of a fresh output below which it is never too large: eight standard scores."""
HALF = 0.5
"""Share of the targets' entropy below which a fresh network knows too much."""
MOST = 0.95
"""Share of the rows that must be log-probabilities where a loss wants them."""
THROUGH = frozenset({"log_softmax", "log", "softmax", "sigmoid", "dropout", "add", "mean"})


def check(losses: Losses) -> Iterator[Outcome]:
    """First losses that a network without knowledge would not have."""
    rows = list(losses.training(*CLASSES, *BINARY, *REGRESSION))
    if not rows:
        reason = "no training loss was seen whose value for a know-nothing is known"
        unseen = losses.trouble and not any(losses.training())
        yield CouldNotLook(losses.trouble) if unseen else NotApplicable(reason)
        return
    fresh = [row for row in rows if not (row.steps or row.tick > 1 or row.restored)]
    if not fresh:
        yield NotApplicable("weights were loaded, or trained, before the first loss seen")
        return
    places: set[Place | None] = set()
    for row in fresh:
        finding = judge(row)
        if finding is not None and finding.place not in places:
            places.add(finding.place)
            yield finding


def judge(row: Loss) -> Finding | None:
    """The finding for one first loss, if there is one."""
    if not math.isfinite(row.first.plain):
        return None
    if row.kind in REGRESSION:
        return regression(row)
    if not from_layer(row) or row.classes == 1 or unnormalised(row):
        return None
    chance = math.log(row.classes) if row.kind in CLASSES else math.log(2)
    if row.first.plain > chance + EXCESS + FEW / max(1, row.elements):
        return high(row, chance)
    if row.classes and not row.soft and row.first.plain < HALF * row.entropy:
        return low(row, chance)
    return None


def from_layer(row: Loss) -> bool:
    """Whether a layer with weights made the logits, with nothing in between that scales them."""
    made = (node for node in row.made if node.name not in THROUGH)
    node = next(made, None)
    return node is not None and node.weighted and bool(node.parameters or -1 in node.inputs)


def unnormalised(row: Loss) -> bool:
    """Whether a loss that wants log-probabilities gets something else: its value means nothing."""
    return row.kind == "nll" and row.seen.log_sum_to_zero < MOST


def high(row: Loss, chance: float) -> Finding:
    """The finding for a first loss far above chance."""
    logits = row.first.input
    network = "network after its first backward" if row.tick else "fresh network"
    return Finding(
        message=f"The loss at the start is {row.first.plain:.3g}; chance is {chance:.3f}",
        seen=f"{row.name} of the {network} per sample, without weights; its input lies in "
        f"[{logits.low:.3g}, {logits.high:.3g}], where a fresh network stays near 0",
        fix="look first at the scale of the inputs, then at that of the last layer's weights",
        place=row.place,
    )


def low(row: Loss, chance: float) -> Finding:
    """The finding for a first loss far below what can be known."""
    return Finding(
        message=f"The loss at the start is {row.first.plain:.3g}; chance is {chance:.3f}",
        seen=f"the classes alone have {row.entropy:.3f} nats: the network knows them already",
        fix="if these are not trained weights, look for the target among the inputs",
        severity="note",
        place=row.place,
    )


def regression(row: Loss) -> Finding | None:
    """The finding for a fresh output much larger than the targets."""
    output, target = row.first.input, row.first.target
    if target.variance <= 1e-12 * max(1.0, target.square) or any(
        n.weighted for n in row.target_chain
    ):
        return None
    if not (
        output.square > max(LARGE, RATIO * target.square)
        and row.first.plain > RATIO * target.square
    ):
        return None
    return Finding(
        message=f"The squared error at the start is {row.first.plain:.3g}; "
        f"predicting 0 has {target.square:.3g}",
        seen=f"outputs of the fresh network have size {math.sqrt(output.square):.3g} (root mean "
        f"square), targets {math.sqrt(target.square):.3g}",
        fix="look first at the scale of the inputs, then at that of the last layer's weights",
        place=row.place,
    )
