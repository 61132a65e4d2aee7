"""What more data would bring, measured on shares of those that there are."""

from __future__ import annotations

from dataclasses import replace

from nomagic.engine.choose import choose
from nomagic.fitting import growth
from nomagic.fitting.case import Case, affordable, measured
from nomagic.words import Stage

FEWEST, SEEDS = 2, 4
"""Epochs that a training must at least have, and the seeds of each share."""


def run(case: Case) -> Stage:
    """Train on shares of the data, and read the law of their errors."""
    plan = case.plan(members=1, patience=None)
    trainings = SEEDS * len(growth.SHARES)
    epochs = case.ledger.decide(
        "growth.epochs",
        lambda: affordable(
            case.seconds / trainings, measured(plan, case.seed).epoch, FEWEST, plan.setup.epochs
        ),
    )
    if not epochs:
        return Stage("growth", skipped="there is no time to train on shares of the data")
    plan = case.plan(members=1, patience=None, epochs=epochs)
    how = case.ledger.decide("growth.how", lambda: choose(plan, SEEDS).how)
    seeds = [case.seed * 1_000_000 + 800_000 + i for i in range(SEEDS)]
    points = growth.measure(plan.setup, case.data, seeds, how=how, tell=case.tell)
    if points.metric == "rmse":
        unit = case.deviation
        points = replace(
            points, errors=tuple(tuple(unit * e for e in row) for row in points.errors)
        )
    return growth.evidence(points)
