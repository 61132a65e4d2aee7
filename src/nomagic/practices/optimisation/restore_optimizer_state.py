"""Save and restore the optimizer's state (and schedule, scaler, random state) with the weights.

Momentum and Adam's averages are part of where the training stands. Without them the first steps
after a resume are as rough as those of a new run, at weights that are far along.

Against: fine-tuning starts a new optimizer on purpose, most often with a new head or a lower
rate; so do evaluation, averaging, target networks and folds that begin again at the same weights.

Check: a resume is a file whose weights fill a module key by key, whose parameters, all of them
and no others, are then stepped by an optimizer with a memory that is still blank. It is a warning
if the file holds an optimizer state for as many parameters, which nobody restored (unless the
first loss says that the task is new); or if the first loss is below half of what guessing gives
and the file says how far the training had come, or the loss of the next 20 steps rises 20 % above
the first ones. Weights alone with a low first loss are a note.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from nomagic.probes.descent import Descent
from nomagic.probes.optimizers import Optimized, Optimizers
from nomagic.probes.restores import Restore, Restores
from nomagic.probes.trace import Graph, Trace
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("BYU",)
LOW = 0.5  # of the loss of guessing: below it the weights know the task
JUMP = 1.2  # the rise that the catalogue calls a loss jump
FIRST = 3  # losses that are taken as the first
SOON = 20  # steps in which a jump shows


def check(
    restores: Restores, optimizers: Optimizers, descent: Descent, trace: Trace
) -> Iterator[Outcome]:
    """Modules that were restored for going on, and optimizers that were not."""
    resumed = [
        row for row in restores if row.kind == "module" and row.file is not None and row.whole
    ]
    resumed = [row for row in resumed if row.optimizer >= 0]
    if not resumed:
        yield NotApplicable("no training was resumed from a file")
        return
    known = {one.number: one for one in optimizers}
    for row in resumed:
        one = known.get(row.optimizer)
        if one is not None and row.blank and one.remembers:
            yield from judged(row, one, descent, guess(trace))


def judged(row: Restore, one: Optimized, descent: Descent, chance: float) -> Iterator[Finding]:
    """What there is to say about one resume with a blank optimizer."""
    values = [loss.value for loss in descent if loss.tick >= row.began - 1][: FIRST + SOON]
    if not values or row.file is None:
        return
    first = fmean(values[:FIRST])
    low = first < LOW * chance
    owned = row.file.optimized == sum(group.tensors for group in one.groups)
    seen = (
        f"{row.owner} was filled from a file at backward {row.tick + 1}; {one.kind} went on blank"
    )
    if row.file.optimized and owned and not first >= LOW * chance:
        yield finding(
            one, f"{seen}, though the file holds its state for {row.file.optimized} parameters"
        )
    elif low:
        jump = jumped(values)
        seen += f"; the first loss is {first:.3g}, guessing gives {chance:.3g}"
        seen += f"; then it rose to {max(values):.3g}" if jump else ""
        yield finding(one, seen, row.file.progress or jump)


def jumped(values: Sequence[float]) -> bool:
    """Whether the losses after the first ones are higher, on average of any three."""
    first = fmean(values[:FIRST])
    later = [fmean(values[i : i + FIRST]) for i in range(FIRST, len(values) - FIRST + 1)]
    return bool(later) and max(later) > JUMP * first and fmean(values[FIRST:]) > JUMP * first


def guess(trace: Trace) -> float:
    """The loss of a uniform guess, where the loss tells the number of classes; else nan."""
    graph: Graph
    for graph in trace:
        for node in graph.nodes:
            shape = node.shapes[0] if node.shapes else ()
            if node.name in ("cross_entropy", "nll_loss") and len(shape) > 1:
                return math.log(shape[1])
            if node.name.startswith("binary_cross_entropy"):
                return math.log(2)
    return math.nan


def finding(one: Optimized, seen: str, likely: bool = True) -> Finding:
    """The finding, at the line that makes the optimizer."""
    return Finding(
        message="training is resumed without the optimizer's state",
        seen=seen,
        fix='save {"model": model.state_dict(), "optimizer": optimizer.state_dict()} and load both',
        severity="warning" if likely else "note",
        place=one.place or one.stepping,
    )
