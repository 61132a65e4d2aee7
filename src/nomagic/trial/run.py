"""`nomagic.try_`: read what the user asks for, and run the trial."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nomagic import catalog, setups
from nomagic.datasets import DataError
from nomagic.engine import scores
from nomagic.engine.plan import Plan, SetupError
from nomagic.engine.scores import MetricError
from nomagic.setups import UnknownSetupError
from nomagic.trial import budget as budgets
from nomagic.trial.arms import SAME, TrialError
from nomagic.trial.budget import BudgetError
from nomagic.trial.statistics import StatisticsError
from nomagic.trial.store import Store, StoreError
from nomagic.trial.trying import Ask, Tell, Trying
from nomagic.words import Practice, Setup, Trial

SAMPLES = 6_000
"""Samples of a built-in set that are used, so that a run takes seconds."""
ERRORS = (
    TrialError,
    BudgetError,
    SetupError,
    MetricError,
    DataError,
    UnknownSetupError,
    StatisticsError,
    StoreError,
    catalog.UnknownPracticeError,
)
"""What bad input raises; each says what came, what was expected and what to do."""


def try_(
    setup: Setup | str | Any,
    practices: Iterable[str] = (),
    *,
    budget: str | float = "10m",
    metric: str | None = None,
    worth: str | float | None = None,
    skip: Iterable[str] = (),
    everything: bool = False,
    aa: bool = False,
    extend: bool = False,
    discoveries: bool = False,
    samples: int | None = None,
    store: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Trial:
    """Find out which tricks pay on a setup, and how sure that is.

    Args:
        setup: a `Setup`, or what names one: a built-in name, ``file.py``, ``file.py:function``.
        practices: their names; none means all that apply, as many as the budget allows.
        budget: the time it may take, such as ``"10m"``.
        metric: the metric that decides, in place of the setup's own.
        worth: the smallest effect worth having, in the metric's unit or in points (``"0.3pt"``).
        skip: practices to leave out.
        everything: all that apply, even if the budget is too small to finish.
        aa: try the setup against itself with other draws, which must come out as no difference.
        extend: declare the one extension of a plan that left arms open: twice as many pairs.
        discoveries: hold the expected share of false ones among HELPS and HURTS at 5 % (e-BH),
            instead of the probability of any; for more than twenty arms.
        samples: use only so many samples, drawn at random; built-in sets have `SAMPLES` at most.
        store: a file that keeps finished runs; the same call goes on where it was stopped.
        data: the folder of built-in data.
        seed: of everything that is drawn.
        tell: called with the trial so far, again and again.

    Raises:
        TrialError: the setup cannot be trained, or its metric tells nothing.
        BudgetError: there is not enough time for one lot.
        UnknownPracticeError, SetupError, DataError, StoreError: bad input.
    """
    began = time.monotonic()
    limit = budgets.seconds(budget)
    named = tuple(practices)
    chosen = [SAME] if aa else _practices(named, skip)
    plan = _plan(setup, metric, data, samples)
    whole = everything or bool(named) or aa
    least = smallest(worth, plan)
    ask = Ask(tuple(chosen), began + limit, least, whole, extend, discoveries, seed)
    kept = Store(store)
    try:
        return Trying(plan, ask, kept, tell).run()
    finally:
        kept.close()


def _practices(names: Iterable[str], skip: Iterable[str]) -> list[Practice]:
    """The practices that have a trick, those first that are said to help."""
    named = [catalog.find(name) for name in names]
    without = [practice.name for practice in named if practice.apply is None]
    if without:
        raise TrialError(
            f"{without[0]} has no trick that could be tried; it is looked at by `nomagic check`"
        )
    left_out = {catalog.find(name).name for name in skip}
    found = [one for one in (named or catalog.load()) if one.apply and one.name not in left_out]
    if not found:
        raise TrialError("no practice is left to try")
    return found if named else helpful_first(found)


def helpful_first(practices: Iterable[Practice]) -> list[Practice]:
    """Practices in their order, but those first that are said to help."""
    found = list(practices)
    helpful = [one for one in found if one.promise and one.promise.direction == "helps"]
    return helpful + [one for one in found if one not in helpful]


def _plan(named: Any, metric: str | None, folder: str | Path | None, samples: int | None) -> Plan:
    """The setup with its data, or with some of it."""
    setup = setups.resolve(named, folder)
    plan = Plan(replace(setup, metric=metric) if metric else setup)
    built_in = named in setups.BUILTIN and setup.split in ("fresh", "group")
    wanted = samples or (SAMPLES if built_in else len(plan.data))
    return plan if wanted >= len(plan.data) else _smaller(plan, wanted)


def _smaller(plan: Plan, samples: int) -> Plan:
    """A plan on some of the samples, in their order; always the same ones."""
    if plan.setup.split == "fixed" and plan.data.test_rows is not None:
        raise TrialError(f"{plan.data.name} comes with its split, so all samples must be used")
    rows = torch.randperm(len(plan.data), generator=torch.Generator().manual_seed(0))
    rows = rows[:samples].sort().values
    groups = plan.setup.groups
    chosen = None if groups is None else np.asarray(groups)[rows.numpy()]
    return Plan(replace(plan.setup, groups=chosen), plan.data.subset(rows))


def smallest(worth: str | float | None, plan: Plan) -> float | None:
    """The smallest effect worth having, in the metric's unit: ``"0.3pt"`` is 0.003."""
    if worth is None:
        return None
    text = str(worth).strip().lower()
    points = text.endswith("pt")
    if points and plan.metric not in scores.PERCENT:
        raise TrialError(f"worth is {worth!r}, but {plan.metric} is not told in points; give 0.01")
    try:
        value = float(text.removesuffix("pt")) / (100 if points else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise TrialError(f"worth is {worth!r}; expected a number above zero, or points as in 0.3pt")
    return value
