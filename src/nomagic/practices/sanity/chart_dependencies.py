"""Prove what depends on what: a sample's prediction on that sample alone, step t on no later step.

A reshape where a transpose was meant, or a recurrent layer that takes the batch for time, mixes
the samples of a batch. The model still trains, on noise. A language model that sees the word it
has to predict trains even better, and is worth nothing.

Against: batch norm in training mode, contrastive losses, graphs and attention across the batch
mix by design.

Check: after the run, on a copy in evaluation mode, some samples are replaced, and the
predictions that change are compared with the targets that belong to them. If others change,
every intermediate result tells which function was the first after which no dimension keeps the
samples apart: a reshape or a recurrent layer is a fault, a softmax a warning; what may be meant
(matrix products across the batch) is a note. Where the targets are the inputs one step on, one
element is replaced: if the prediction of that very element changes, the model sees the answer
(fault).
"""

from collections.abc import Iterator

from nomagic.probes.mixing import Leak, Mixing
from nomagic.words import Finding, Outcome, Severity

SOURCES = ("KAR",)
WARNED = 0.01  # share of the foreign predictions that change; less is a rounding or a rare path

KINDS: dict[str, tuple[Severity, str, str]] = {
    "reshape": (
        "fault",
        "{cause} moves numbers of one sample into the place of another",
        "put the batch first with transpose or permute before {cause}",
    ),
    "recurrent": (
        "fault",
        "{cause} takes the batch for time",
        "construct the layer with batch_first=True, or give it time first",
    ),
    "attention": (
        "warning",
        "{cause} attends across the batch",
        "construct the layer with batch_first=True, or give it the sequence first",
    ),
    "order": (
        "fault",
        "predictions and targets are flattened in different orders",
        "bring both into the same order before flattening: transpose one of them",
    ),
    "softmax": (
        "warning",
        "{cause} runs along the batch",
        "say which dimension holds the classes: dim=1, or -1",
    ),
}
BY_DESIGN: tuple[Severity, str, str] = (
    "note",
    "{cause} mixes them",
    "nothing, if that is meant; otherwise look at the dimensions there",
)


def check(mixing: Mixing) -> Iterator[Outcome]:
    """Leaks across samples and across time."""
    yield from mixing.unanswered()
    for row in mixing:
        if isinstance(row, Leak) and row.across == "time":
            yield answer_seen(row)
        elif isinstance(row, Leak) and row.share > WARNED:
            yield mixed(row)


def answer_seen(leak: Leak) -> Finding:
    """The finding for a sequence model that sees what it has to predict."""
    return Finding(
        message="the model sees the element of the sequence that it has to predict",
        seen=f"with one element replaced, {leak.share:.0%} of its own predictions change",
        fix="use a causal mask, or a network that reads forwards only",
        severity="fault",
        place=leak.place,
    )


def mixed(leak: Leak) -> Finding:
    """The finding for samples that are mixed."""
    known = leak.stacked or leak.kind not in ("softmax", "attention")
    severity, reason, fix = KINDS.get(leak.kind, BY_DESIGN) if known else BY_DESIGN
    cause = leak.cause or "a function"
    shapes = " -> ".join(str(shape) for shape in leak.shapes)
    return Finding(
        message="predictions depend on other samples of the batch",
        seen=f"with one of {leak.batch} samples replaced, {leak.share:.0%} of the other samples' "
        "predictions change; " + reason.format(cause=cause) + (f" ({shapes})" if shapes else ""),
        fix=fix.format(cause=cause),
        severity=severity,
        place=leak.place,
    )
