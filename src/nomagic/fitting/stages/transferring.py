"""Better weights to start from: given ones, or what the inputs alone can teach."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from nomagic.fitting import transfer, tuning
from nomagic.fitting.case import Case, FitError, measured
from nomagic.fitting.transfer import Proposal
from nomagic.fitting.tuning import ARMS, Tuning
from nomagic.parts import trunk
from nomagic.parts.pretext import KINDS, Kind
from nomagic.parts.trunk import TrunkError
from nomagic.words import Stage

FEW = 2_000
"""Training samples below which pre-training is tried unasked."""
TRAININGS = 24
"""Trainings of the smallest comparison, with two at a time."""
SEEDS = 8
"""Seeds of each way to fine-tune."""
PLAIN = frozenset({"head", "last block", "all"})
"""Ways that a setup can be told: which blocks are trained."""


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
    """Start from a file: by the rule for so many samples, or the way that is proven best."""
    plan = case.plan(members=1, patience=None)
    try:
        weights = trunk.read(file)
    except TrunkError as error:
        raise FitError(str(error)) from error
    arms = [arm for arm in ARMS if arm.name in PLAIN]
    cost = measured(plan, case.seed).epoch * plan.setup.epochs * SEEDS * (len(arms) + 1)
    if case.ledger.decide("transfer.compared", lambda: cost < case.seconds):
        seeds = [case.seed * 1_000_000 + 500_000 + i for i in range(SEEDS)]
        stage = tuning.compare(
            plan, weights, seeds, arms, str(file.absolute()), lambda name, _: case.tell(name)
        )
        return replace(stage, name="transfer")
    arm = _rule(case)
    change = tuning.changed(plan, str(file.absolute()), arm)
    says = (f"Starts from {file.name}; trained by the rule for so many samples: {arm.name}.",)
    return Stage("transfer", says, {"taken": asdict(arm)}, change=change)


def _rule(case: Case) -> Tuning:
    """The way to begin with, as far as a setup can be told."""
    plan = case.plan()
    found = tuning.rule(len(plan.part(case.seed).train), plan.setup.batch_size)
    return found if found.depth else replace(found, factor=1.0, trunk=1.0, opening=0.0)
