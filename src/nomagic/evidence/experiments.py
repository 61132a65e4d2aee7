"""What the experiments on copies of the model gave."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from nomagic.probes.clamps import Clamps
from nomagic.probes.constants import ConstantInput
from nomagic.probes.lrns import Lrns
from nomagic.probes.memorised import Memorised
from nomagic.probes.mixing import Leak, Mixing
from nomagic.probes.modes import Mode, Modes
from nomagic.probes.norm_gap import NormGaps
from nomagic.probes.shifts import Shifts
from nomagic.probes.singles import Singles
from nomagic.probes.variances import Variances
from nomagic.words import Picture, Series

FEW = 8
"""Rows of one probe that are drawn."""


def memorised(memories: Memorised) -> Iterator[Picture]:
    """How far a handful of samples was learnt by heart."""
    for memory in memories.rows[:FEW]:
        yield _bars(
            f"{memory.samples} samples by heart",
            f"A copy of the network trained on {memory.samples} samples alone for {memory.steps} "
            "steps; a network that works gets below the mark.",
            "loss",
            {
                "at the start": memory.start,
                "a constant": memory.constant,
                "reached": memory.reached,
                "the mark": memory.mark,
            },
        )


def constants(worths: ConstantInput) -> Iterator[Picture]:
    """What reading the input is worth."""
    for worth in worths.rows[:FEW]:
        yield _bars(
            "What the input is worth",
            "The loss of the trained network with the right inputs, with those of other samples, "
            "and of a constant. Without a gap between the first two the input is not used.",
            "loss",
            {
                "right inputs": worth.real,
                "inputs of others": worth.shuffled,
                "a constant": worth.constant,
            },
        )


def norm_gaps(gaps: NormGaps) -> Iterator[Picture]:
    """The loss as trained and as deployed."""
    for gap in gaps.rows[:FEW]:
        yield _bars(
            "As trained and as deployed",
            f"The loss of one batch with its own statistics and with those that {gap.layer} keeps "
            "for evaluation; the two should agree.",
            "loss",
            {
                "batch statistics (training)": gap.batch_loss,
                "running statistics (evaluation)": gap.running_loss,
                "a constant": gap.constant,
            },
        )


def variances(seen: Variances) -> Iterator[Picture]:
    """What dropout before batch norm does."""
    for one in seen.rows[:FEW]:
        yield _bars(
            "Dropout before batch norm",
            f"The loss of one batch in evaluation; dropout changes the variance at {one.norm} by "
            f"a factor of {one.ratio:.3g}.",
            "loss",
            {"running statistics": one.running, "the batch's own": one.batch},
        )


def shifts(seen: Shifts) -> Iterator[Picture]:
    """Predictions that change when an image moves by one pixel."""
    for one in seen.rows[:FEW]:
        yield _bars(
            "Moved by one pixel",
            f"Of {one.images} images, the predictions that change when the image moves by one "
            "pixel, beside those that are wrong.",
            "share of predictions",
            {"changed": one.flips, "wrong": one.errors},
        )


def singles(seen: Singles) -> Iterator[Picture]:
    """How far predictions for a sample alone are from those in its batch."""
    told = {"batch": "alone instead of in its batch", "padding": "without its padding"}
    values = {told.get(one.what, one.what): one.worst for one in seen.rows[:FEW]}
    if values:
        yield _bars(
            "Alone and in company",
            "The largest change of a prediction, as a share of the predictions' spread; rounding "
            "alone gives about a millionth.",
            "largest change",
            values,
        )


def mixing(leaks: Mixing) -> Iterator[Picture]:
    """Predictions that change with what they must not see."""
    rows = [one for one in leaks if isinstance(one, Leak)][:FEW]
    if rows:
        yield _bars(
            "Predictions that see what they must not",
            "The share of foreign predictions that changed when one sample (or one element of a "
            "sequence) was replaced; it should be none.",
            "share that changed",
            {f"across {one.across}": one.share for one in rows},
        )


def modes(seen: Modes) -> Iterator[Picture]:
    """In which mode each line calls its modules."""
    rows = [one for one in seen if one.calls][:FEW]
    names = tuple(_call(one) for one in rows)
    if len(rows) > 1:
        training = tuple(float(one.calls if one.training else 0) for one in rows)
        evaluation = tuple(float(0 if one.training else one.calls) for one in rows)
        yield Picture(
            "Calls by mode",
            "How often each line called the network in training and in evaluation mode; lines that "
            "score held-out data belong in evaluation mode.",
            "",
            "calls",
            (
                Series("training mode", names, training, kind="bars"),
                Series("evaluation mode", names, evaluation, kind="bars"),
            ),
        )


def clamps(cuts: Clamps) -> Iterator[Picture]:
    """How much is cut off where."""
    rows = [one for one in cuts if math.isfinite(one.cut)][:FEW]
    if rows:
        yield _bars(
            "Numbers that are cut off",
            "The share of the numbers of each line that are cut; a cut number has no gradient.",
            "share cut",
            {f"{one.name} ({one.place})" if one.place else one.name: one.cut for one in rows},
        )


def lrns(seen: Lrns) -> Iterator[Picture]:
    """What local response normalisation costs."""
    rows = [one for one in seen if one.share > 0][:FEW]
    if rows:
        yield _bars(
            "What local response normalisation costs",
            "Its share of the time of a forward and backward pass.",
            "share of the time",
            {str(one.place or "a layer"): one.share for one in rows},
        )


def _call(one: Mode) -> str:
    grads = "with" if one.grads else "without"
    return f"{one.place or one.module}, {grads} gradients"


def _bars(title: str, says: str, y: str, values: Mapping[str, float]) -> Picture:
    series = Series(y, tuple(values), tuple(values.values()), kind="bars")
    return Picture(title, says, "", y, (series,))
