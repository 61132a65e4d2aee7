"""Stop at the first NaN or Inf, and find the function and the step that made it.

One infinite gradient makes every weight NaN at the next step, and from there on nothing is
learnt. A norm layer or a metric that skips NaN can hide it for weeks; look at the first bad
number.

Against: mixed precision makes infinite gradients now and then by design; the scaler leaves those
steps out. A loop that leaves out the step of a bad loss has taken care of it.

Check: a loss that is not finite at a backward, from which the training does not recover, is a
fault; one from which it does is a note, and a warning if steps were made from 5 % of the losses
or more. Gradients that are not finite under a finite loss are named as the cause, or a warning if
the run ends there. In looked steps (the first 20, later some) the function and the line that made
the first bad number are named. A scaler that leaves out more than 5 % of the steps after its
first 50 is a warning.
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
AWAY = 100  # times the first loss: the training had diverged already


def check(descent: Descent, breakdowns: Breakdowns, scalers: Scalers) -> Iterator[Outcome]:
    """Losses and gradients that are not finite, and scalers that leave out too much."""
    if not len(descent):
        yield NotApplicable("no loss with a value went backward")
        return
    bad = [loss for loss in descent if not loss.finite]
    if bad:
        yield lost(descent, bad, breakdowns)
    else:
        last = descent[-1].tick
        yield from (gradient(row) for row in breakdowns if row.gradient and row.tick >= last)
    for scaling in scalers:
        late = [step for step in scaling.skipped if step >= WARM]
        if len(late) >= FEW and len(late) > OFTEN * (scaling.steps - WARM):
            yield skipped(scaling, len(late))


def lost(descent: Descent, bad: Sequence[Loss], breakdowns: Breakdowns) -> Finding:
    """The finding for losses: a fault when those after the first stayed bad."""
    first = bad[0]
    line = [loss for loss in descent if loss.place == first.place]
    before = [loss.value for loss in line if loss.tick < first.tick]
    after = [loss for loss in line if loss.tick > first.tick]
    recovered = bool(after) and after[-1].finite
    steps = sum(stepped(line, loss) for loss in bad)
    often = steps >= FEW and steps > OFTEN * len(line)
    row = next((row for row in breakdowns if row.tick <= first.tick), None)
    if exploded(before):
        row = None
    shown = ", ".join(f"{value:.3g}" for value in before[-BEFORE:])
    seen = f"the loss of backward {first.tick + 1} is {first.value}"
    seen += f", after {shown}" if before else ", the first one"
    if recovered:
        seen += f"; {len(bad)} of {len(line)} losses were not finite, the last one was"
    elif after:
        seen += (
            f"; {sum(not loss.finite for loss in after)} of the {len(after)} after it are no better"
        )
    return Finding(
        message="the loss is not a number that one can descend",
        seen=seen + (f"; {cause(row)}" if row is not None else ""),
        fix=advice(row),
        severity=("warning" if often else "note") if recovered else "fault",
        place=(row.culprit if row is not None else None) or first.place,
    )


def stepped(line: Sequence[Loss], loss: Loss) -> bool:
    """Whether an optimizer step followed this loss."""
    later = next((other for other in line if other.tick > loss.tick), None)
    return later is not None and later.step > loss.step


def exploded(before: Sequence[float]) -> bool:
    """Whether the losses had run away before: then no single function is to blame."""
    return bool(before) and abs(before[-1]) > AWAY * max(abs(before[0]), 1e-6)


def cause(row: Breakdown) -> str:
    """What is known of how it came about."""
    if row.gradient:
        return (
            f"a gradient of backward {row.tick + 1} was not finite before that: {row.function} at "
            f"{row.culprit}, {row.operand}"
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
        return "keep what goes into it in its range: clamp, add a small number, use log_softmax"
    if row is not None and row.inputs is False:
        return "look at that batch: clean the data, or its scaling"
    return "stop there; lower the learning rate, clip the gradient norm, look at that batch"


def gradient(row: Breakdown) -> Finding:
    """The finding for a run that ended before the next loss."""
    return Finding(
        message="a gradient is not finite though the loss is",
        seen=f"at backward {row.tick + 1}, in {', '.join(row.weights)}: {row.function} at "
        f"{row.culprit}, {row.operand}",
        fix=advice(row),
        severity="warning",
        place=row.culprit or row.place,
    )


def skipped(scaling: Scaling, late: int) -> Finding:
    """The finding for a scaler that leaves out too many steps."""
    return Finding(
        message="the gradient scaler leaves out many steps",
        seen=f"after {WARM} steps, {late} of {scaling.steps - WARM} had infinite gradients",
        fix="look for a loss or layer that overflows half precision; try bfloat16",
        place=scaling.place,
    )
