"""The pictures of a trial: effects with their intervals, and what they cost."""

from __future__ import annotations

import math

from nomagic.report.trial import ORDER
from nomagic.words import Picture, Series, Trial, Verdict

MOST = 40
"""Arms in one picture."""


def rows(trial: Trial) -> list[Verdict]:
    """The arms that were tried or proven, in the order in which they are shown."""
    names = list(ORDER)
    tried = [one for one in trial.verdicts if one.decision in ORDER]
    return sorted(tried, key=lambda one: (names.index(one.decision), -abs(one.effect)))


def forest(trial: Trial) -> Picture:
    """The effect of each arm with its interval, by verdict."""
    shown = measured(trial)[:MOST]
    by = {decision: [one for one in shown if one.decision == decision] for decision in ORDER}
    series = [
        Series(decision, *_effects(found, trial), kind="points") for decision, found in by.items()
        if found
    ]  # fmt: skip
    arms = tuple(one.arm for one in shown)
    if arms:
        series.append(Series("no difference", (arms[0], arms[-1]), (0.0, 0.0), kind="guide"))
    return Picture(
        "Effects",
        "An interval that lies right of the dashed line is an improvement; one that crosses it "
        "can be either.",
        "",
        f"effect on {trial.metric}{_unit(trial)}",
        tuple(series),
    )


def gains(trial: Trial) -> Picture:
    """What each arm brings against the time that it takes."""
    shown = measured(trial)
    series = [
        Series(one.arm, (100 * (one.cost - 1),), *_heights([one], trial), kind="points")
        for one in shown
        if math.isfinite(one.cost)
    ]
    costs = [0.0, *(at for one in series for at in one.x if not isinstance(at, str))]
    if len(costs) > 1:
        ends = (min(costs), max(costs))
        series.insert(0, Series("no difference", ends, (0.0, 0.0), kind="guide"))
    return Picture(
        "Gain against cost",
        "High and left is good: a better score for little more training time.",
        "training time against the baseline (%)",
        f"effect on {trial.metric}{_unit(trial)}",
        tuple(series),
    )


def measured(trial: Trial) -> list[Verdict]:
    """Those that have an effect to draw."""
    return [one for one in rows(trial) if one.pairs and math.isfinite(one.effect)]


def _unit(trial: Trial) -> str:
    return " (points)" if trial.points else ""


def _effects(
    found: list[Verdict], trial: Trial
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    return (tuple(one.arm for one in found), *_heights(found, trial))


def _heights(
    found: list[Verdict], trial: Trial
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Effects and the ends of their intervals, in the unit that is shown."""
    scale = 100.0 if trial.points else 1.0
    effects = tuple(scale * one.effect for one in found)
    return (
        effects,
        tuple(scale * one.low for one in found),
        tuple(scale * one.high for one in found),
    )
