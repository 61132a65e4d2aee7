"""Stop at the first NaN or Inf, and find the function and the step that made it.

One infinite gradient makes every weight NaN at the next step, and from there on nothing is learnt. A norm
layer or a metric that skips NaN can hide it for weeks; the first bad number is what to look at.

Against: mixed precision makes infinite gradients now and then by design; the scaler leaves
those steps out. A loop that leaves out a batch with a bad loss has taken care of it.

Check: a loss that is not finite at a backward, from which the training does not recover, is a fault; one from
which it does is a note, and a warning from 5 % of the losses on. Gradients that are not finite under
a finite loss are a fault when the weights were not finite afterwards. In looked steps (the first 20,
later every tenth or so) the function and line that made the first of them are named. A scaler that
leaves out more than 5 % of the steps after its first 50 is a warning.
"""

from collections.abc import Iterator, Sequence

from nomagic.probes.breakdowns import Breakdown, Breakdowns
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.scalers import Scalers, Scaling
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("BYU",)
OFTEN = 0.05  # share of losses, or of scaled steps, that may be lost
WARM = (
    50  # steps in which a scaler may search for its scale: 65,536 is halved at most some 20 times
)
FEW = 3  # bad losses or steps of which a share can be said
BEFORE = 4  # losses shown before the bad one


def check(descent: Descent, breakdowns: Breakdowns, scalers: Scalers) -> Iterator[Outcome]:
    """Losses and gradients that are not finite, and scalers that leave out too much."""
    if not len(descent):
        yield NotApplicable("no loss with a value went backward")
        return
    bad = [loss for loss in descent if not loss.finite]
    if bad:
        yield lost(descent, bad, breakdowns)
    else:
        yield from (gradient(row) for row in breakdowns if row.gradient and row.weights)
    for scaling in scalers:
        late = [step for step in scaling.skipped if step >= WARM]
        if len(late) >= FEW and len(late) > OFTEN * (scaling.steps - WARM):
            yield skipped(scaling, len(late))


def lost(descent: Descent, bad: Sequence[Loss], breakdowns: Breakdowns) -> Finding:
    """The finding for losses: a fault when none after the first was finite again."""
    first = bad[0]
    line = [loss for loss in descent if loss.place == first.place]
    after = [loss for loss in line if loss.tick > first.tick]
    recovered = bool(after) and after[-1].finite
    often = len(bad) >= FEW and len(bad) > OFTEN * len(line)
    row = next((row for row in breakdowns if row.gradient), None) or next(iter(breakdowns), None)
    before = ", ".join(f"{loss.value:.3g}" for loss in line if loss.tick < first.tick)
    before = ", ".join(before.split(", ")[-BEFORE:])
    seen = f"the loss of backward {first.tick + 1} is {first.value}"
    seen += f" (before it: {before})" if before else ", the first one"
    if recovered:
        seen += f"; {len(bad)} of {len(line)} losses were not finite, the last was"
    elif after:
        seen += (
            f", and so are {sum(not loss.finite for loss in after)} of the {len(after)} after it"
        )
    return Finding(
        message="the loss is not a number that one can descend",
        seen=seen + (f"; {cause(row)}" if row is not None and row.tick <= first.tick else ""),
        fix=advice(row),
        severity=("warning" if often else "note") if recovered else "fault",
        place=(row.culprit if row is not None else None) or first.place,
    )


def cause(row: Breakdown) -> str:
    """What is known of how it came about."""
    if row.gradient:
        return (
            f"before that, at backward {row.tick + 1}, a gradient was not finite: {row.function} at "
            f"{row.culprit}: {row.operand}"
        )
    if row.function:
        return f"{row.function} made the first one of finite numbers ({row.operand})"
    if row.weights:
        return f"weights were not finite before it: {', '.join(row.weights)}"
    if row.inputs is False:
        return "what went into the network was not finite"
    return "weights and inputs were finite" if row.inputs else "the weights were finite"


def advice(row: Breakdown | None) -> str:
    """What to do, by the cause."""
    if row is not None and row.gradient:
        return "add a small number inside the root, norm or power"
    if row is not None and row.function:
        return "keep the numbers that go into it in its range: clamp, add a small number, use log_softmax"
    if row is not None and row.inputs is False:
        return "look at that batch: clean the data, or its scaling"
    return "stop there; lower the learning rate, clip the gradient norm, look at that batch"


def gradient(row: Breakdown) -> Finding:
    """The finding for a run that ended before the next loss."""
    return Finding(
        message="a gradient is not finite though the loss is",
        seen=f"at backward {row.tick + 1}, in {', '.join(row.weights)}: {row.function} at {row.culprit}: "
        f"{row.operand}",
        fix=advice(row),
        severity="warning",
        place=row.culprit or row.place,
    )


def skipped(scaling: Scaling, late: int) -> Finding:
    """The finding for a scaler that leaves out too many steps."""
    return Finding(
        message="the gradient scaler leaves out many steps",
        seen=f"after the first {WARM} steps, {late} of {scaling.steps - WARM} had infinite gradients",
        fix="look for a loss or layer that overflows half precision; try bfloat16",
        place=scaling.place,
    )
