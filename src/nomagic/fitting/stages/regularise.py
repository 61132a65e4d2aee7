"""What regularises: the recipe that a trial proved, or a short trial of its own.

The trial is that of `nomagic try`: paired seeds on fresh splits of the same data, and what won is
checked on fresh seeds. Ensembles and learning rates are left to later stages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nomagic import catalog
from nomagic.fitting.case import Case
from nomagic.fitting.ledger import Ledger
from nomagic.trial import recipe as recipes
from nomagic.trial.arms import TrialError
from nomagic.trial.budget import BudgetError
from nomagic.trial.run import helpful_first
from nomagic.trial.store import Store
from nomagic.trial.trying import Ask, Trying
from nomagic.words import Picture, Practice, Recipe, Series, Setup, Stage, Trial, Verdict

TRAININGS = 24
"""Trainings of the shortest trial, with two at a time."""
LATER = frozenset({"ensemble", "learning-rate-first"})
"""Practices that have a stage of their own."""


def run(case: Case) -> Stage:
    """The setup with what helps."""
    if case.wish.recipe is not None:
        return _given(case, case.wish.recipe)
    reason = case.lacks("regularise", TRAININGS) or case.ledger.known("regularise.none")
    try:
        trial = None if reason else _trial(case)
    except (BudgetError, TrialError) as error:
        reason = _decided(case, error)
        trial = None
    if trial is None:
        return Stage("regularise", skipped=f"no trial of tricks: {reason}")
    if trial.ending == "interrupted":
        raise KeyboardInterrupt
    setup, used = _followed(case, trial.recipe)
    says = tuple(_says(trial, used))
    numbers = {"pairs": trial.pairs, "tricks": [_numbers(one) for one in _tried(trial)]}
    pictures = tuple(_pictures(trial))
    return Stage("regularise", says, numbers, pictures, case.change(setup))


def _decided(case: Case, error: Exception) -> str:
    """Why there is no trial; it stays so when there is more time after a kill."""
    return case.ledger.decide("regularise.none", lambda: str(error))


def _given(case: Case, recipe: Recipe) -> Stage:
    setup, used = _followed(case, recipe)
    names = ", ".join(used) or "nothing"
    says = (f"Taken from the recipe that was given: {names}.",)
    tricks = [_numbers(step.verdict) for step in recipe.steps if step.arm in used]
    return Stage("regularise", says, {"tricks": tricks}, change=case.change(setup))


def _followed(case: Case, recipe: Recipe) -> tuple[Setup, list[str]]:
    """The setup with the recipe's tricks, without those of later stages; and their names."""
    steps = tuple(step for step in recipe.steps if step.practice not in LATER)
    if not steps:
        return case.setup, []
    kept = replace(recipe, steps=steps)
    return recipes.follow(kept, case.plan(), catalog.load()), [step.arm for step in steps]


def _trial(case: Case) -> Trial:
    """A trial that is planned for the stage's time and then run to its end."""
    store = _Planned(case.ledger)
    try:
        deadline = time.monotonic() + case.seconds
        ask = Ask(tuple(_practices()), deadline, everything=False, strict=False, seed=case.seed)
        plan = case.plan(members=1, patience=None)
        return Trying(plan, ask, store, lambda trial: case.tell(trial.phase)).run()
    finally:
        store.close()


class _Planned(Store):
    """The trial's runs; its plan is one of the decisions of the fit."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.file("regularise.sqlite"))
        self._ledger = ledger

    def plan(self, name: str) -> dict[str, Any] | None:
        """The plan that was kept under this name."""
        return self._ledger.known(f"regularise.{name}")

    def keep(self, name: str, plan: dict[str, Any]) -> dict[str, Any]:
        """Keep a plan, unless there is one of this name; what is kept."""
        return self._ledger.decide(f"regularise.{name}", lambda: plan)


def _practices() -> list[Practice]:
    return [one for one in helpful_first(catalog.load()) if one.apply and one.name not in LATER]


def _tried(trial: Trial) -> list[Verdict]:
    return [one for one in trial.verdicts if one.pairs]


def _numbers(one: Verdict) -> dict[str, object]:
    return {
        "practice": one.practice,
        "arm": one.arm,
        "verdict": one.decision,
        "effect": one.effect,
        "low": one.low,
        "high": one.high,
        "pairs": one.pairs,
    }


def _says(trial: Trial, used: list[str]) -> Iterator[str]:
    tried = _tried(trial)
    yield (
        f"{len(tried)} tricks were tried in {trial.pairs} pairs of runs each; "
        + (f"what helped on fresh seeds is kept: {', '.join(used)}." if used else "none is kept.")
    )
    hurt = [one.arm for one in tried if one.decision == "HURTS"]
    if hurt:
        yield f"Worse with: {', '.join(hurt)}."


def _pictures(trial: Trial) -> Iterator[Picture]:
    tried = sorted(_tried(trial), key=lambda one: -one.effect)
    if not tried:
        return
    scale = 100 if trial.points else 1
    bars = Series(
        "effect",
        tuple(one.arm for one in tried),
        tuple(scale * one.effect for one in tried),
        tuple(scale * one.low for one in tried),
        tuple(scale * one.high for one in tried),
        kind="points",
    )
    unit = "points" if trial.points else trial.metric
    says = "Above zero helps; an interval that crosses zero has not decided."
    yield Picture("What tricks do to this network", says, "trick", f"effect in {unit}", (bars,))
