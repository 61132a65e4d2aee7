"""Curves over the run: losses, scores, learning rates, and where the time goes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from nomagic.evidence.thin import STEPS, band, spread_out
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.evaluations import Evaluations, Score
from nomagic.probes.gradients import Gradients
from nomagic.probes.losses import Loss as Line
from nomagic.probes.losses import Losses
from nomagic.probes.optimizers import Optimizers
from nomagic.probes.run import PARTS, Lap
from nomagic.probes.timing import Timing
from nomagic.words import Picture, Place, Series

LINES = 4
"""Lines of one kind in a picture."""
STEEP = 30.0
"""The largest of a curve over its smallest from which on its axis is logarithmic."""
STRETCHES = 40
"""Stretches of the run whose times are drawn."""
ENOUGH = 4
"""Laps that were not slowed by a look from which on the others are left out."""


def descent(losses: Descent) -> Iterator[Picture]:
    """The training loss at every backward, and where it stopped being a number."""
    lines = list(losses.lines().items())[:LINES]
    series = [
        band(_named("training", place, len(lines)), [(row.step, row.value) for row in rows])
        for place, rows in lines
    ]
    series = [one for one in series if one.y]
    broken = next((row for row in losses if not row.finite), None)
    if broken is not None:
        series.append(_fence("first loss that is no number", broken.step, series))
    if series:
        yield Picture(
            "Training loss",
            "The loss of every batch that was seen; bands reach from the lowest to the highest of "
            f"each stretch.{_break(broken)}",
            "optimizer step",
            "loss",
            tuple(series),
            log=_log(series),
        )


def evaluations(scores: Evaluations) -> Iterator[Picture]:
    """Loss and accuracy of training and of each evaluation."""
    curves = _curves(list(scores))
    yield from _scored(
        curves, "loss", "Loss", "mean loss of a sample",
        "Training is measured on single batches, evaluations on all that was scored. Where the "
        "loss of held-out data rises while that of training falls, the network learns by heart.",
    )  # fmt: skip
    yield from _scored(
        curves, "accuracy", "Accuracy", "accuracy",
        "The share of right predictions, in training on single batches.",
    )  # fmt: skip


def optimizers(made: Optimizers) -> Iterator[Picture]:
    """The learning rates, where there are any to follow."""
    moving = [one for one in made if len({rate for _, rate in one.rates}) > 1][:LINES]
    series = [
        Series(
            one.kind if len(moving) == 1 else f"{one.kind} {one.number + 1}",
            tuple(float(step) for step, _ in rates),
            tuple(rate for _, rate in rates),
        )
        for one in moving
        for rates in [spread_out(one.rates, STEPS)]
    ]
    if series:
        yield Picture(
            "Learning rate",
            "The rate of the optimizer's first group.",
            "optimizer step",
            "learning rate",
            tuple(series),
            log=_log(series),
        )


def losses(lines: Losses) -> Iterator[Picture]:
    """What each loss line gave, held against a prediction that knows the class counts only."""
    rows = [row for row in lines if row.training and len(row.history) > 1][:LINES]
    for row in rows:
        made = band("loss", [(tick, value) for tick, value in row.history])
        chance = _chance(row)
        if not made.y:
            continue
        series = [made]
        if math.isfinite(chance):
            series.append(_level(f"chance: {chance:.3g}", chance, made))
        yield Picture(
            f"{row.name.capitalize()}{f' at {row.place}' if row.place else ''}",
            "What the line gave. A fresh network starts at chance, a network that learns falls "
            "below it."
            if len(series) > 1
            else "What the line gave at each look.",
            "backward pass",
            "loss",
            tuple(series),
        )


def gradients(clearings: Gradients) -> Iterator[Picture]:
    """How gradients grew where they were not cleared."""
    rows = [one for one in clearings if one.stale and all(map(math.isfinite, one.growth))][:LINES]
    if rows:
        names = tuple(one.parameter or one.optimizer or "by hand" for one in rows)
        yield Picture(
            "Size of a gradient that was not cleared",
            "Gradients of all steps before are still in it, so that it grows.",
            "parameter",
            "norm of the gradient",
            (
                Series("first look", names, tuple(one.growth[0] for one in rows), kind="bars"),
                Series("last look", names, tuple(one.growth[1] for one in rows), kind="bars"),
            ),
        )


def timing(waits: Timing) -> Iterator[Picture]:
    """How long each loader keeps a step waiting."""
    names = tuple(f"loader {wait.loader + 1}" for wait in waits)[:LINES]
    if names:
        yield Picture(
            "Waiting for the next batch",
            "Of a typical step, what is spent waiting for the loader, and the rest.",
            "",
            "time (ms)",
            (
                Series("waiting", names, tuple(1e3 * one.typical for one in waits)[:LINES],
                       kind="bars"),
                Series(
                    "the rest", names,
                    tuple(1e3 * max(0.0, one.step - one.typical) for one in waits)[:LINES],
                    kind="bars",
                ),
            ),
        )  # fmt: skip


def laps(seen: Sequence[Lap]) -> Iterator[Picture]:
    """Where the time of a step goes, over the run."""
    plain = [lap for lap in seen if not lap.looked]
    rows = plain if len(plain) >= ENOUGH else list(seen)
    if len(rows) < 2:
        return
    rows = _merged(rows)
    ticks = tuple(float(lap.tick) for lap in rows)
    sums = {part: sum(lap.seconds[at] for lap in rows) for at, part in enumerate(PARTS)}
    own = {part: spent for part, spent in sums.items() if part != "nomagic"}
    whole = sum(own.values()) or 1.0
    most = ", ".join(f"{part} {100 * spent / whole:.0f} %" for part, spent in _most(own, 3))
    yield Picture(
        "Where the time of a step goes",
        f"Of the script's own time: {most}. Evaluation is spread over the steps between two; "
        "nomagic is what watching took in these steps, between which it takes next to nothing; "
        "other is code outside of torch's modules, optimizers and loaders.",
        "backward pass",
        "time of one step (ms)",
        tuple(
            Series(part, ticks, tuple(1e3 * lap.seconds[at] for lap in rows), kind="stack")
            for at, part in enumerate(PARTS)
            if sums[part] > 0
        ),
    )


def _most(spent: Mapping[str, float], number: int) -> list[tuple[str, float]]:
    return sorted(spent.items(), key=lambda item: -item[1])[:number]


def _merged(rows: Sequence[Lap]) -> list[Lap]:
    """At most so many laps, each the mean of some that follow one another."""
    size = math.ceil(len(rows) / STRETCHES)
    groups = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [
        Lap(
            group[len(group) // 2].tick,
            tuple(sum(lap.seconds[at] for lap in group) / len(group) for at in range(len(PARTS))),
            group[0].looked,
        )
        for group in groups
    ]


# -- scores -------------------------------------------------------------------------------------


def _curves(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """The scores by what they are of: training first, then each evaluation by its line."""
    lines: defaultdict[tuple[bool, Place | None], list[Score]] = defaultdict(list)
    for score in scores:
        lines[score.evaluation, score.loader if score.evaluation else score.place].append(score)
    train = max((rows for key, rows in lines.items() if not key[0]), key=len, default=[])
    held = [(place, rows) for (evaluated, place), rows in lines.items() if evaluated][:LINES]
    curves = {"training": train} if train else {}
    return curves | {_named("validation", place, len(held)): rows for place, rows in held}


def _scored(
    curves: dict[str, list[Score]], what: str, title: str, y: str, says: str
) -> Iterator[Picture]:
    series = [
        band(name, [(row.step, getattr(row, what)) for row in rows])
        for name, rows in curves.items()
    ]
    series = [one for one in series if one.y]
    both = " and validation" if len(series) > 1 else ""
    if any(len(one.y) > 1 for one in series):
        log = _log(series) if what == "loss" else ""
        yield Picture(
            f"{title} in training{both}", says, "optimizer step", y, tuple(series), log=log
        )


# -- lines ----------------------------------------------------------------------------------------


def _named(what: str, place: Place | None, of: int) -> str:
    return what if of == 1 or place is None else f"{what} ({place})"


def _log(series: Sequence[Series]) -> Literal["", "y"]:
    """The axis y where it spans much."""
    values = [y for one in series if one.kind != "guide" for y in one.y if math.isfinite(y)]
    steep = bool(values) and min(values) > 0 and max(values) > STEEP * min(values)
    return "y" if steep else ""


def _chance(row: Line) -> float:
    """The loss of a prediction that knows how frequent the classes are."""
    known = row.classes and not math.isnan(row.entropy)
    return row.entropy if known else math.log(row.classes) if row.classes > 1 else math.nan


def _level(name: str, height: float, beside: Series) -> Series:
    return Series(name, (beside.x[0], beside.x[-1]), (height, height), kind="guide")


def _fence(name: str, at: float, series: Sequence[Series]) -> Series:
    """A line across the picture at one step."""
    ends = [y for one in series for y in (*one.low, *one.high, *one.y)] or [0.0, 1.0]
    return Series(name, (float(at), float(at)), (min(ends), max(ends)), kind="guide")


def _break(broken: Loss | None) -> str:
    if broken is None:
        return ""
    return f" At step {broken.step:,} it is {broken.value}; nothing after it can be used."
