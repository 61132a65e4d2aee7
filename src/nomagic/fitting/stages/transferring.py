"""Better weights to start from: given ones, or what the inputs alone can teach."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from nomagic.engine.plan import Plan
from nomagic.fitting import transfer, tuning
from nomagic.fitting.case import Case, FitError, affordable, measured
from nomagic.fitting.transfer import Proposal
from nomagic.parts.pretext import KINDS, Kind
from nomagic.parts.trunk import TrunkError
from nomagic.words import Stage

FEW = 2_000
"""Training samples below which pre-training is tried unasked."""
TRAININGS = 24
"""Trainings of the smallest comparison, with two at a time."""
SEEDS = 8
"""Seeds of each way to fine-tune."""


def run(case: Case) -> Stage:
    """Fine-tune given weights, or find out whether pre-training pays."""
    if case.wish.weights is not None:
        return _given(case, case.wish.weights)
    kind = case.wish.pretrain
    if kind not in ("auto", "off", *KINDS):
        raise FitError(f"pre-training {kind!r} is not known; it is auto, off, {', '.join(KINDS)}")
    if kind == "off":
        return Stage("transfer", skipped="as asked")
    plan = case.plan(members=1, patience=None)
    count = len(plan.part(case.seed).train)
    if kind == "auto" and count >= FEW:
        reason = f"{count:,} labels are not few; pre-training is tried below {FEW:,}"
        return Stage("transfer", skipped=f"{reason}, or with --pretrain")
    reason = case.lacks("transfer", TRAININGS)
    if reason:
        return Stage("transfer", skipped=reason)
    kinds: list[Kind] = [one for one in KINDS if kind == str(one)]
    case.tell("what there is time for")
    planned = case.ledger.decide(
        "transfer.proposal", lambda: transfer.propose(plan, case.seconds, kinds).plain()
    )
    file = case.ledger.file("transfer.safetensors")
    stage = transfer.compare(plan, Proposal.of(planned), file=file, tell=case.tell)
    return replace(stage, name="transfer")


def _given(case: Case, file: Path) -> Stage:
    """Start from a file, in the way that is proven best of those that there is time to compare."""
    try:
        return replace(_tuned(case, file), name="transfer")
    except TrunkError as error:
        raise FitError(f"the weights cannot be fine-tuned: {error}") from error


def _tuned(case: Case, file: Path) -> Stage:
    plan = case.plan(members=1, patience=None)
    arms = tuning.promising(len(plan.part(case.seed).train), plan.setup.batch_size)
    fits = tuning.fitting(plan, file, case.seed)
    count = case.ledger.decide("transfer.arms", lambda: _affordable(case, plan, len(arms)))
    if count:
        seeds = [case.seed * 1_000_000 + 500_000 + i for i in range(SEEDS)]
        return tuning.compare(plan, file, seeds, arms[:count], lambda name, _: case.tell(name))
    rule = f"Trained by the rule for so many samples: {arms[0].name}; there is no time to compare."
    says = (*fits.says(), rule)
    change = tuning.changed(plan, file, arms[0])
    return Stage("transfer", says, {"taken": asdict(arms[0])}, change=change)


def _affordable(case: Case, plan: Plan, most: int) -> int:
    """How many ways there is time for, beside the control; 0 if none."""
    each = measured(plan, case.seed).epoch * plan.setup.epochs * SEEDS
    return max(0, affordable(case.seconds, each, 2, most + 1) - 1)
