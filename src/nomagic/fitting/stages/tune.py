"""The learning rate and its companions, searched at random and then by TPE (Optuna).

What the search likes best is compared with what was there before, on fresh seeds: a search always
finds something, and only what holds there is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from nomagic.engine.choose import choose, train
from nomagic.engine.plan import Plan
from nomagic.fitting.case import Case
from nomagic.fitting.stages.baselines import told
from nomagic.parts.schedules import trapezoid
from nomagic.trial.arms import glimpse
from nomagic.words import Picture, Series, Setup, Stage

SEEDS = 2
"""Runs of each setting, on the same seeds for all."""
FRESH = 8
"""Fresh seeds on which the best is compared with the setup as it was."""
LEAST, MOST = 4, 40
"""Settings that a search tries."""
RANDOM = 8
"""Settings drawn at random before TPE looks at the results."""
WON = 2.0
"""Standard errors by which the best must be better on the fresh seeds."""

Setting = dict[str, Any]
"""The values of the knobs of one run."""


def run(case: Case) -> Stage:
    """Search within the stage's time, and compare on fresh seeds."""
    reason = case.lacks("tune", FRESH + SEEDS * LEAST)
    if reason:
        return Stage("tune", skipped=reason)
    plan = case.plan(members=1)
    how = case.ledger.decide("tune.how", lambda: choose(plan, SEEDS).how)
    start = _start(case)
    case.tell("the setup as it is")
    first = case.ledger.decide("tune.0", lambda: _timed(case, start, how))
    count = case.ledger.decide("tune.count", lambda: _count(case.seconds, first["seconds"]))
    if count < LEAST:
        return Stage("tune", skipped="there is no time to try even four settings")
    tried: list[tuple[Setting, float]] = [(start, first["value"])]
    for number in range(1, count):
        case.tell(f"setting {number} of {count - 1}")
        setting = case.ledger.decide(
            f"tune.{number}.setting", lambda k=number: _propose(case, tried, k)
        )
        tried.append((setting, _value(case, f"tune.{number}", setting, how)))
    best = max(tried, key=lambda pair: pair[1])[0]
    case.tell("the best, on fresh seeds")
    gaps = _gaps(case, start, best, how) if best != start else []
    return _stage(case, tried, best, gaps)


def _timed(case: Case, start: Setting, how: Any) -> dict[str, float]:
    """The value of the setup as it is, and what one of its runs takes."""
    began = time.perf_counter()
    value = fmean(_runs(case, start, _seeds(case), how))
    return {"value": value, "seconds": (time.perf_counter() - began) / SEEDS}


def _count(seconds: float, run: float) -> int:
    """Settings that there is time for, with the fresh runs of two at the end."""
    runs = seconds / max(run, 1e-6) - 2 * FRESH
    return min(MOST, max(0, int(runs / SEEDS)))


# -- settings -----------------------------------------------------------------------------------


def _start(case: Case) -> Setting:
    """The knobs as they are."""
    seen = glimpse(case.plan(members=1), case.seed)
    setting: Setting = {"rate": 1.0, "batch": 1.0, "schedule": "as it is", "decay": seen.decay}
    if case.setup.decay is not None:
        setting["decay"] = case.setup.decay
    if seen.form.task in ("classification", "sequence"):
        setting["smoothing"] = case.setup.smoothing
    return setting


def _knobs(start: Setting) -> dict[str, Any]:
    from optuna import distributions as d

    knobs: dict[str, Any] = {
        "rate": d.FloatDistribution(0.1, 10.0, log=True),
        "batch": d.CategoricalDistribution((0.5, 1.0, 2.0)),
        "schedule": d.CategoricalDistribution(("as it is", "trapezoid")),
        "decay": d.FloatDistribution(1e-5, 1.0, log=True),
    }
    if "smoothing" in start:
        knobs["smoothing"] = d.CategoricalDistribution(
            tuple({0.0: 0, 0.1: 0, start["smoothing"]: 0})
        )
    return knobs


def _propose(case: Case, tried: Sequence[tuple[Setting, float]], number: int) -> Setting:
    """The next setting, which hangs on the results so far and its number alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    knobs = _knobs(tried[0][0])
    sampler = optuna.samplers.TPESampler(seed=1_000 * case.seed + number, n_startup_trials=RANDOM)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for setting, value in tried:
        if math.isfinite(value):
            within = {name: _within(knobs[name], setting[name]) for name in knobs}
            study.add_trial(
                optuna.trial.create_trial(params=within, distributions=knobs, value=value)
            )
    return dict(study.ask(knobs).params)


def _within(knob: Any, value: Any) -> Any:
    """A value that the knob can have: no decay at all is the least there is."""
    return value if not hasattr(knob, "low") else min(max(value, knob.low), knob.high)


def setup_of(setup: Setup, setting: Mapping[str, Any]) -> Setup:
    """The setup with the knobs turned."""
    return replace(
        setup,
        rate=setup.rate * setting["rate"],
        batch_size=max(1, round(setup.batch_size * setting["batch"])),
        schedule=trapezoid if setting["schedule"] == "trapezoid" else setup.schedule,
        decay=setting["decay"],
        smoothing=setting.get("smoothing", setup.smoothing),
    )


# -- runs ---------------------------------------------------------------------------------------


def _value(case: Case, name: str, setting: Setting, how: Any) -> float:
    """The mean of the metric, higher is better; -inf where a run failed."""
    return case.ledger.decide(
        f"{name}.value", lambda: fmean(_runs(case, setting, _seeds(case), how))
    )


def _seeds(case: Case) -> list[int]:
    """The seeds on which all settings are tried."""
    return [case.seed * 1_000_000 + 600_000 + i for i in range(SEEDS)]


def _gaps(case: Case, start: Setting, best: Setting, how: Any) -> list[float]:
    """How much better the best setting is than the start, on each fresh seed."""
    seeds = [case.seed * 1_000_000 + 700_000 + i for i in range(FRESH)]

    def measured() -> list[float]:
        both = [_runs(case, setting, seeds, how) for setting in (best, start)]
        return [one - other for one, other in zip(*both, strict=True)]

    return case.ledger.decide("tune.gaps", measured)


def _runs(case: Case, setting: Setting, seeds: Sequence[int], how: Any) -> list[float]:
    plan = Plan(setup_of(replace(case.setup, members=1, patience=None), setting), case.data)
    sign = 1.0 if plan.higher else -1.0
    return [
        -math.inf if one.failed else sign * one.scores[plan.metric]
        for one in train(plan, seeds, how)
    ]


# -- told ---------------------------------------------------------------------------------------


def _stage(
    case: Case, tried: Sequence[tuple[Setting, float]], best: Setting, gaps: Sequence[float]
) -> Stage:
    gap, error = (fmean(gaps), stdev(gaps) / math.sqrt(len(gaps))) if gaps else (0.0, 0.0)
    won = bool(gaps) and math.isfinite(gap) and gap > WON * error
    setup = setup_of(case.setup, best) if won else case.setup
    numbers = {
        "settings": len(tried),
        "best": best,
        "taken": won,
        "gain on fresh seeds": gap,
        "standard error": error,
        "seeds": len(gaps),
    }
    says = tuple(_says(case, len(tried), best, won, gap, error))
    return Stage("tune", says, numbers, _pictures(case, tried), case.change(setup))


def _says(
    case: Case, count: int, best: Setting, won: bool, gap: float, error: float
) -> Iterator[str]:
    plan = case.plan()
    words = (
        f"rate × {best['rate']:.2g}, batches × {best['batch']:g}, decay {best['decay']:.2g}, "
        f"schedule {best['schedule']}"
    )
    if "smoothing" in best:
        words += f", smoothing {best['smoothing']:g}"
    over = f"{told(plan, gap)} ± {told(plan, 2 * error)} over {FRESH} fresh seeds"
    if won:
        yield f"{count} settings were tried; the best ({words}) is better by {over} and is taken."
    elif gap or error:
        yield (
            f"{count} settings were tried; the best ({words}) gains {over}, which is within the "
            "noise: the setup stays as it was."
        )
    else:
        yield f"{count} settings were tried; the setup as it was is the best of them."


def _pictures(case: Case, tried: Sequence[tuple[Setting, float]]) -> tuple[Picture, ...]:
    plan = case.plan()
    sign = 1.0 if plan.higher else -1.0
    good = sorted((one["rate"], sign * value) for one, value in tried if math.isfinite(value))
    points = Series(
        "settings",
        tuple(rate for rate, _ in good),
        tuple(value for _, value in good),
        kind="points",
    )
    says = "Each point is a setting that was tried, by its learning rate alone."
    axis = "learning rate, times that of the setup"
    return (Picture("The search", says, axis, plan.metric, (points,), log="x"),)
