"""The pictures of a trial: effects and what they cost, each pair, the evidence, the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from nomagic.report.trial import MOST as SURE
from nomagic.report.trial import ORDER, effect, interval, odds
from nomagic.words import Picture, Series, Trial, Verdict

MOST = 40
"""Arms in one picture."""
DOTTED = 18
"""Arms whose pairs are drawn each."""
LINES = 10
"""Arms that have a line each."""
UNSURE = 1e-2
"""Evidence below this is not told apart."""


def pictures(trial: Trial) -> list[Picture]:
    """All pictures that there is something to see on."""
    first = [forest(trial), gains(trial)] if measured(trial) else []
    rest = (pairs(trial), evidence(trial), interactions(trial), screening(trial))
    return [*first, *(one for one in rest if one is not None)]


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


def pairs(trial: Trial) -> Picture | None:
    """Every pair of every arm as a dot, and the failed runs at the edges."""
    shown = [one for one in rows(trial) if one.paired][:DOTTED]
    if not shown:
        return None
    scale = _scale(trial)
    dots = [
        (one.arm, scale * pair.difference)
        for one in shown
        for pair in one.paired
        if math.isfinite(pair.difference)
    ]
    least = min((value for _, value in dots), default=-1.0)
    most = max((value for _, value in dots), default=1.0)
    room = 0.06 * (most - least) or 1.0
    series = [_dots("a pair of runs", dots)]
    for who, at in (("arm", least - room), ("baseline", most + room), ("both", 0.0)):
        lost = [(one.arm, at) for one in shown if who in {pair.failed for pair in one.paired}]
        if lost:
            series.append(_dots(f"{who if who == 'both' else f'the {who}'} failed", lost))
    series.append(Series("no difference", (shown[0].arm, shown[-1].arm), (0.0, 0.0), kind="guide"))
    return Picture(
        "Each pair of runs",
        "A dot is one seed, trained with and without the trick: right of the dashed line the trick "
        "won. Where dots lie on both sides, luck is as large as the effect, and only many pairs "
        "tell.",
        "",
        f"difference in {trial.metric}{_unit(trial)}",
        tuple(series),
    )


def evidence(trial: Trial) -> Picture | None:
    """The evidence of each arm after each lot of pairs, and where it would prove an arm."""
    known = [one for one in rows(trial) if one.history]
    shown = sorted(known, key=lambda one: -one.evidence)[:LINES]
    if not shown:
        return None
    series = [
        Series(
            one.arm,
            tuple(float(look) for look, _ in one.history),
            tuple(min(max(value, UNSURE), SURE) for _, value in one.history),
        )
        for one in shown
    ]
    last = max(one.history[-1][0] for one in shown)
    first = min(one.history[0][0] for one in shown)
    ends = (float(first), float(max(last, first + 1)))
    series.append(Series("proven by this alone", ends, (trial.bar,) * 2, kind="guide"))
    fresh = " Of a winner it is that of the check on fresh seeds." if _fresh(trial) else ""
    return Picture(
        "Evidence, lot by lot",
        f"How many times better the pairs fit a difference than none. Above {odds(trial.bar)} it "
        "proves an arm, however often one looks; the exact test that gives the verdicts needs "
        f"less, so a line can end below.{fresh}",
        "pairs so far",
        "evidence (odds)",
        tuple(series),
        log="y",
    )


def interactions(trial: Trial) -> Picture | None:
    """The winners alone, beside the others, and all together; None with fewer than two."""
    won = [one for one in _fresh(trial) if "trial" in one.context][:MOST]
    if len(won) < 2:
        return None
    scale, alone = _scale(trial), [one.context["trial"] for one in won]
    arms = tuple(one.arm for one in won)
    ends = [tuple(scale * one[end] for one in alone) for end in ("effect", "low", "high")]
    series = [
        Series("alone, in the trial", arms, *ends, kind="points"),
        Series("what it adds to the others", *_effects(won, trial), kind="points"),
    ]
    together = trial.recipe.together
    total = sum(one["effect"] for one in _kept(trial, won))
    if together is not None:
        whole = ("all together",)
        series += [
            Series("the recipe", whole, *_heights([together], trial), kind="points"),
            Series("sum of those alone", whole, (scale * total,), kind="points"),
        ]
    series.append(Series("no difference", (arms[0], series[-1].x[0]), (0.0, 0.0), kind="guide"))
    return Picture(
        "Do the tricks add up?",
        _adds_up(trial, total),
        "",
        f"effect on {trial.metric}{_unit(trial)}",
        tuple(series),
    )


def _kept(trial: Trial, won: list[Verdict]) -> Iterator[dict[str, float]]:
    """What the tricks of the recipe brought alone."""
    kept = {step.arm for step in trial.recipe.steps}
    yield from (one.context["trial"] for one in won if one.arm in kept)


def _adds_up(trial: Trial, total: float) -> str:
    """Whether the sum holds, in a sentence."""
    together = trial.recipe.together
    start = "Each winner alone, and what it adds where the others are used already, on fresh seeds."
    if together is None:
        return f"{start} Together they show no gain."
    said = (
        f"{start} Alone the tricks of the recipe sum up to {effect(total, trial.points)}; together "
        f"they bring {effect(together.effect, trial.points)} ({interval(together, trial.points)}): "
    )
    if total > together.high:
        return f"{said}less than the sum, since in part they do the same work.".replace("-", "−")
    if total < together.low:
        return f"{said}more than the sum: they help each other.".replace("-", "−")
    return f"{said}the sum holds as far as can be told.".replace("-", "−")


def screening(trial: Trial) -> Picture | None:
    """The scores of the learning rates that were screened, for the baseline and each arm."""
    known = [one for one in rows(trial) if one.context.get("screened")]
    if not known:
        return None
    told = _score(trial)
    series = [_rates("without tricks", known[0].context["screened"]["baseline"], told)]
    series += [_rates(one.arm, one.context["screened"]["arm"], told) for one in known[:LINES]]
    return Picture(
        "Learning rates that were screened",
        "Each side of a pair runs at the best rate of its own, so that no trick wins because the "
        "rate suits it better. The usual rate stays unless another one is clearly better.",
        "learning rate, times that of the setup",
        f"{trial.metric}{' (%)' if trial.points else ''}",
        tuple(one for one in series if one.x),
        log="x",
    )


def _rates(name: str, screened: dict[str, float], told: Callable[[float], float]) -> Series:
    found = sorted((float(rate), told(score)) for rate, score in screened.items())
    return Series(name, tuple(rate for rate, _ in found), tuple(score for _, score in found))


def _score(trial: Trial) -> Callable[[float], float]:
    """From a score as trials compare it, the higher the better, to the metric as it is told."""
    sign = 1.0 if trial.context.get("higher is better", True) else -1.0
    return lambda score: sign * _scale(trial) * score


def _dots(name: str, dots: list[tuple[str, float]]) -> Series:
    arms, values = tuple(arm for arm, _ in dots), tuple(value for _, value in dots)
    return Series(name, arms, values, kind="points")


def _fresh(trial: Trial) -> list[Verdict]:
    return [one for one in measured(trial) if one.fresh]


def _scale(trial: Trial) -> float:
    return 100.0 if trial.points else 1.0


def measured(trial: Trial) -> list[Verdict]:
    """Those that have an effect to draw."""
    return [one for one in rows(trial) if one.pairs and math.isfinite(one.effect)]


def _unit(trial: Trial) -> str:
    """What stands behind the metric on an axis; where lower is better, which side is better."""
    higher = trial.context.get("higher is better", True)
    said = ["points"] * trial.points + ["above 0: better"] * (not higher)
    return f" ({', '.join(said)})" if said else ""


def _effects(
    found: list[Verdict], trial: Trial
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    return (tuple(one.arm for one in found), *_heights(found, trial))


def _heights(
    found: list[Verdict], trial: Trial
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Effects and the ends of their intervals, in the unit that is shown."""
    scale = _scale(trial)
    effects = tuple(scale * one.effect for one in found)
    return (
        effects,
        tuple(scale * one.low for one in found),
        tuple(scale * one.high for one in found),
    )
