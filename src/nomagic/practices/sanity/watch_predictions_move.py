"""Follow the predictions on fixed data through training: jitter tells of rate and stability.

How the predictions on one fixed batch change from evaluation to evaluation shows what the loss
hides: a network that still jumps about late in training has too high a learning rate or data that
contradict it; one that never moves is not learning.

Against: nobody; but a task with much noise in its labels jitters by nature, so the flips are held
against the error.

Check: the classes predicted for the first 64 samples of evaluations that saw the same data, at
least eight of them. In the last quarter more than 20 % flips between evaluations, more flips than
errors, and no better score than the quarter before is a warning: chance flips of a settled
classifier are bounded by its errors. Predictions that never moved while they are no better than
the most frequent class are a note.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from nomagic.probes.evaluations import Evaluations, Score
from nomagic.words import Finding, NotApplicable, Outcome, Picture, Series

SOURCES = ("KAR",)
ENOUGH = 8  # evaluations, so that a quarter holds two changes
JUMPY = 0.2  # share of flips between evaluations; healthy digits nets end below 0.03
SAMPLES = 16
SHOWN = 2  # pictures, of the data that were evaluated most often


def check(evaluations: Evaluations) -> Iterator[Outcome]:
    """Predictions that jump late, or never move."""
    series = [same for same in repeated(evaluations) if len(same) >= ENOUGH]
    if not series:
        yield NotApplicable(
            f"no {ENOUGH} evaluations of the same data with predicted classes were seen"
        )
        return
    for same in series:
        yield from judge(same)


def repeated(scores: Evaluations) -> list[list[Score]]:
    """Evaluations that saw the same data, in order of the run."""
    same: dict[tuple[Any, ...], list[Score]] = defaultdict(list)
    for score in scores:
        if score.evaluation and len(score.predicted) >= SAMPLES and score.inputs:
            kept = same[score.place, score.inputs]
            if not kept or kept[-1].step < score.step:
                kept.append(score)
    return list(same.values())


def judge(same: Sequence[Score]) -> Iterator[Outcome]:
    """Jumping in the last quarter, or standing still all along."""
    flips = [changed(before, after) for before, after in pairwise(same)]
    quarter = max(2, len(flips) // 4)
    late = sum(flips[-quarter:]) / quarter
    error = 1 - sum(score.accuracy for score in same[-quarter:]) / quarter
    gained = mean_accuracy(same[-quarter:]) - mean_accuracy(same[-2 * quarter : -quarter])
    if late > max(JUMPY, error) and gained <= 0.01:
        yield Finding(
            message=(
                "the predictions still jump from evaluation to evaluation at the end of training"
            ),
            seen=(
                f"{late:.0%} of {len(same[-1].predicted)} predictions on the same data changed"
                f" between the last evaluations, more than the {error:.0%} that are wrong"
            ),
            fix=(
                "lower the learning rate or let it decay, use larger batches, or average the"
                " weights"
            ),
            place=same[-1].place,
        )
    elif not any(flips) and mean_accuracy(same) <= most_frequent(same[-1]) + 1e-9:
        yield Finding(
            message="the predictions never moved",
            seen=(
                f"{len(same)} evaluations gave the same {len(same[-1].predicted)} classes, no"
                f" better than the most frequent one ({most_frequent(same[-1]):.0%})"
            ),
            fix=(
                "see whether the parameters move (optimise-every-parameter) and raise the learning"
                " rate"
            ),
            severity="note",
            place=same[-1].place,
        )


def changed(before: Score, after: Score) -> float:
    """The share of predictions that differ between two evaluations."""
    pairs = list(zip(before.predicted, after.predicted, strict=False))
    return sum(a != b for a, b in pairs) / len(pairs)


def mean_accuracy(scores: Sequence[Score]) -> float:
    """The mean accuracy of some evaluations."""
    return sum(score.accuracy for score in scores) / len(scores) if scores else math.nan


def most_frequent(score: Score) -> float:
    """The share of the most frequent class among the labels."""
    seen = [n for n, _ in score.classes.values()]
    return max(seen) / sum(seen) if seen else math.nan


def show(evaluations: Evaluations) -> Iterator[Picture]:
    """The share of predictions that changed between evaluations, beside those that are wrong."""
    for same in sorted(repeated(evaluations), key=len)[: -SHOWN - 1 : -1]:
        if len(same) < ENOUGH:
            continue
        steps = tuple(float(score.step) for score in same[1:])
        flips = tuple(changed(before, after) for before, after in pairwise(same))
        yield Picture(
            "Predictions that change from evaluation to evaluation",
            f"Of {len(same[0].predicted)} samples; late in training fewer should change than are "
            "wrong.",
            "optimizer step",
            "share of the predictions",
            (
                Series("changed", steps, flips),
                Series("wrong", steps, tuple(1 - score.accuracy for score in same[1:])),
            ),
        )
