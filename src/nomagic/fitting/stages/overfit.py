"""Start small and grow: one rung of the ladder at a time, as long as the validation gain is real.

First the network must be able to learn a single batch by heart. The ladder is that of
`nomagic.parts.presets`; a network of the user's own is the only rung of its ladder, and what the
curves say of it is advice.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from torch import Tensor

from nomagic import described
from nomagic.engine import plain, scores
from nomagic.engine.lasting import Curves
from nomagic.engine.plan import Plan
from nomagic.fitting import diagnosis, noise
from nomagic.fitting.case import Case, FitError, Pace, affordable
from nomagic.fitting.diagnosis import Diagnosis, diagnose
from nomagic.fitting.stages import squeeze
from nomagic.fitting.stages.baselines import told
from nomagic.parts.presets import Rung, defaults, ladder, quick
from nomagic.words import Picture, Series, Setup, Stage

MEMBERS = 2
"""Networks of each rung."""
STEPS, HEART = 300, 0.1
"""Steps in which one batch must be learnt by heart, and the share of its loss that may be left."""
PATIENCE = 2
"""Rungs in a row without a gain after which no larger one is tried."""
LEAST = 0.25
"""The part of the usual epochs in which a network can be judged."""
ENOUGH = 700
"""Steps in which a network is trained well enough where there is no time to compare; in fewer, a
smaller one comes further (lab/log.md).
"""
SHARE, MOST = 0.15, 0.3
"""The part of the stage's time that the first network after the linear one takes, and the most."""
HEARTS = 0.15
"""The part of the stage's time in which one batch may be learnt by heart."""
FIELDS = ("model", "optimizer", "schedule", "batch_size", "epochs", "inputs", "block_rates")
"""What a rung sets in the setup."""


@dataclass(frozen=True)
class Trained:
    """A rung that was trained: outputs (members, n, …) on the validation samples and curves."""

    rung: Rung
    plan: Plan
    outputs: Tensor
    targets: Tensor
    curves: list[Curves]
    parameters: int

    @property
    def value(self) -> float:
        """The mean of the metric over the members."""
        return fmean(self._metrics("held"))

    @property
    def seen(self) -> float:
        """The same on training samples."""
        return fmean(self._metrics("train"))

    def _metrics(self, which: str) -> list[float]:
        good = [curve for curve in self.curves if curve.best >= 0]
        return [getattr(curve, which)[self.plan.metric][curve.best] for curve in good]


def run(case: Case) -> Stage:
    """Climb, choose, and say what the curves of the chosen network mean."""
    rungs = _rungs(case)
    steps, left = _heart(case, rungs[-1 if len(rungs) == 1 else 1])
    numbers: dict[str, Any] = {"one batch": {"steps": steps, "loss left": left}}
    taken = case.ledger.decide("overfit.untried", lambda: _untried(case, rungs))
    if taken is not None:
        rung = _ready(case, rungs)[taken][1]
        return _taken(case, rung, taken > 0, (*_batch(steps, left),), numbers)
    climbed = list(_climb(case, rungs))
    if not climbed:
        raise FitError("no network could be trained: the loss was not finite in the first epoch")
    chosen = climbed[_top(climbed)]
    found = _diagnosed(case, chosen)
    numbers |= {
        "rungs": [_numbers(one) for one in climbed],
        "chosen": chosen.rung.name,
        "diagnosis": {
            name: value
            for name, value in asdict(found).items()
            if name not in ("pictures", "says", "advice")
        },
    }
    says = (*_says(rungs, climbed, chosen, steps, left), *found.says)
    pictures = (*_ladder(climbed), *found.pictures)
    kept = {name: getattr(chosen.plan.setup, name) for name in FIELDS}
    return Stage("overfit", says, numbers, pictures, case.change(replace(case.setup, **kept)))


# -- the ladder ---------------------------------------------------------------------------------


def _rungs(case: Case) -> tuple[Rung, ...]:
    """From small to large; the user's own network is the only one on its ladder."""
    if described.ours(case.base.model):
        return ladder(case.data.form)
    return (Rung("your network", case.base.model),)


def setup_of(case: Case, rung: Rung) -> Setup:
    """The setup with a rung's network; ours bring the way in which they are trained, and rates by
    block are those of one network.
    """
    if not described.ours(rung.model):
        return replace(case.setup, members=MEMBERS, patience=None)
    usual = defaults(case.data.form, len(case.plan().part(case.seed).train))
    inputs = case.setup.inputs or usual.pop("inputs")
    chosen = {"model": rung.model, "members": MEMBERS, "patience": None, "inputs": inputs}
    return replace(case.setup, **(usual | chosen | {"block_rates": None}))


def untried(stage: Stage) -> bool:
    """Whether there was no time to compare networks."""
    return not stage.numbers.get("rungs", True)


def _untried(case: Case, rungs: Sequence[Rung]) -> int | None:
    """Where there is no time to compare networks, the largest that can be trained well enough, or
    the quickest; None where there is time.
    """
    if len(rungs) == 1 or _least(case, rungs[1], 1) < MOST * case.seconds:
        return None
    ready = _ready(case, rungs)
    enough = (_steps(case, *one) >= ENOUGH for one in ready[1:])
    return sum(itertools.takewhile(bool, enough))


def _ready(case: Case, rungs: Sequence[Rung]) -> list[tuple[str, Rung]]:
    """What may be taken without a comparison, the quickest first, by the name of its pace."""
    first = [("overfit.quick", rung) for rung in quick(case.data.form)]
    return [*first, *((f"overfit.{n}", rung) for n, rung in enumerate(rungs) if n)]


def _steps(case: Case, name: str, rung: Rung) -> float:
    """Steps that one network of a rung can be trained for in the end."""
    plan = Plan(replace(setup_of(case, rung), epochs=1), case.data)
    return case.last / _alone(case, name, rung).epoch * plan.steps(plan.members([case.seed])[0])


def _alone(case: Case, name: str, rung: Rung) -> Pace:
    """The pace of one network."""
    return case.pace(f"{name}.one", Plan(replace(setup_of(case, rung), members=1), case.data))


def _least(case: Case, rung: Rung, number: int) -> float:
    """Seconds of the shortest training by which a rung can be judged, or fewer where one network
    alone takes too long.
    """
    plan = Plan(setup_of(case, rung), case.data)
    few = math.ceil(LEAST * plan.setup.epochs)
    alone = few * _alone(case, f"overfit.{number}", rung).epoch
    if alone > MOST * case.seconds:
        return alone
    return few * case.pace(f"overfit.{number}", plan).epoch


def _taken(
    case: Case, rung: Rung, enough: bool, says: tuple[str, ...], numbers: dict[str, Any]
) -> Stage:
    """A rung that was not compared with others, because steps are ``enough`` or it is the first; it
    will be trained as long as there is time.
    """
    setup = setup_of(case, rung)
    kept = {field: getattr(setup, field) for field in FIELDS}
    why = (
        f"the largest of which {ENOUGH} steps can be trained in what is left"
        if enough
        else "the quickest one"
    )
    taken = f"There is no time to compare networks: {rung.name} is taken, {why}."
    found = numbers | {"rungs": [], "chosen": rung.name}
    change = case.change(replace(case.setup, **kept))
    return Stage("overfit", (*says, taken), found, change=change)


def _climb(case: Case, rungs: Sequence[Rung]) -> Iterator[Trained]:
    """Train one rung after the other, all equally long, until larger ones bring nothing or take
    too long.
    """
    epochs = case.ledger.decide("overfit.epochs", lambda: _epochs(case, rungs))
    best: Trained | None = None
    waited, spent = 0, 0.0
    for number, rung in enumerate(rungs):
        case.tell(rung.name)
        plan = Plan(replace(setup_of(case, rung), epochs=epochs), case.data)
        spent += epochs * case.pace(f"overfit.{number}", plan).epoch
        if number > 1 and spent > case.seconds:
            return
        one = _train(case, number, rung, plan)
        if one is not None:
            yield one
            grew = best is None or _grew(best, one)
            best, waited = (one, 0) if grew else (best, waited + 1)
        if waited >= PATIENCE:
            return


def _epochs(case: Case, rungs: Sequence[Rung]) -> int:
    """As usual, or as many as leave time for some rungs; networks that have hardly begun to learn
    cannot be compared.
    """
    first = min(1, len(rungs) - 1)
    plan = Plan(setup_of(case, rungs[first]), case.data)
    seconds = case.seconds * (1 if len(rungs) == 1 else SHARE)
    most, epoch = plan.setup.epochs, case.pace(f"overfit.{first}", plan).epoch
    fewest = 1 if len(rungs) == 1 else math.ceil(LEAST * most)
    return max(fewest, affordable(seconds, epoch, 1, most))


def _train(case: Case, number: int, rung: Rung, plan: Plan) -> Trained | None:
    """A rung's networks; None where all of them failed."""
    result = case.train(f"overfit.{number}", plan)
    if not result.networks:
        return None
    outputs, targets = squeeze.outputs_of(plan, result, case.seed)
    parameters = sum(p.numel() for p in result.networks[0].parameters())
    return Trained(rung, plan, outputs, targets, result.curves, parameters)


def _grew(before: Trained, after: Trained) -> bool:
    """Whether a larger network is better by more than the noise: in the metric, or in the loss
    where the metric is not worse.
    """
    plan = after.plan
    new, old = (plain.average(plan, list(one.outputs)) for one in (after, before))
    gap, low, _ = noise.difference(plan, new, old, after.targets)
    if diagnosis.grows(0.0, gap, gap - low):
        return True
    by_loss = Plan(replace(plan.setup, metric="loss"), plan.data)
    lost, least, _ = noise.difference(by_loss, new, old, after.targets)
    return gap >= 0 and diagnosis.grows(0.0, lost, lost - least)


def _top(climbed: Sequence[Trained]) -> int:
    """The last rung that was better than the ones before it by more than the noise."""
    top = 0
    for number in range(1, len(climbed)):
        if _grew(climbed[top], climbed[number]):
            top = number
    return top


# -- one batch ----------------------------------------------------------------------------------


def _heart(case: Case, rung: Rung) -> tuple[int, float]:
    """Steps until one batch is known by heart, or until there is no time, and the share of its
    first loss that is left.
    """
    case.tell("one batch by heart")
    deadline = time.monotonic() + HEARTS * case.seconds
    plan = Plan(replace(setup_of(case, rung), members=1, schedule=None), case.data)
    member = plan.members([case.seed])[0]
    run = plain.Running(plan, member)
    run.model.train()
    rows = plan.batches(member, 0)[0]
    first = float(run.step(rows))
    left = 1.0
    for step in range(2, STEPS + 1):
        left = float(run.step(rows)) / max(abs(first), 1e-12)
        if left < HEART or not math.isfinite(left) or time.monotonic() > deadline:
            return step, left
    return STEPS, left


# -- what the curves say ------------------------------------------------------------------------


def _diagnosed(case: Case, one: Trained) -> Diagnosis:
    plan = one.plan
    error = {"regression": "rmse", "sequence": ""}.get(plan.form.task, "error")
    good = [curve for curve in one.curves if not curve.failed] or one.curves
    means = {
        (which, name): tuple(
            fmean(each)
            for each in zip(*(getattr(curve, which)[name] for curve in good), strict=False)
        )
        for which in ("train", "held")
        for name in ("loss", error)
        if name
    }
    unit = case.deviation if error == "rmse" else 1.0
    trained, held = (
        tuple(unit * one for one in means.get((which, error), ())) for which in ("train", "held")
    )
    known = diagnosis.Curves(means["train", "loss"], means["held", "loss"], trained, held)
    return diagnose(known, _facts(case, one, error))


def _facts(case: Case, one: Trained, error: str) -> diagnosis.Facts:
    """Noise and the constant's error, in the unit of the errors."""
    plan = Plan(replace(one.plan.setup, metric=error or "loss"), one.plan.data)
    by_loss = Plan(replace(one.plan.setup, metric="loss"), one.plan.data)
    half, loss_half = (
        1.96 * noise.score(p, one.outputs[0], one.targets).error for p in (plan, by_loss)
    )
    stage = case.stage("baselines")
    constant = stage.numbers["models"]["constant"]["scores"] if stage else {}
    unit = case.deviation if error == "rmse" else 1.0
    return diagnosis.Facts(
        constant=unit * constant.get(error or "loss", math.inf),
        half=unit * half,
        loss_half=loss_half,
        constant_loss=constant.get("loss", math.inf),
        unit=" %" if error in scores.PERCENT else " nats" if plan.form.task == "sequence" else "",
    )


# -- told ---------------------------------------------------------------------------------------


def _numbers(one: Trained) -> dict[str, Any]:
    return {
        "network": one.rung.name,
        "parameters": one.parameters,
        "epochs": one.plan.setup.epochs,
        "training": one.seen,
        "validation": one.value,
    }


def _says(
    rungs: Sequence[Rung],
    climbed: Sequence[Trained],
    chosen: Trained,
    steps: int,
    left: float,
) -> Iterator[str]:
    yield from _batch(steps, left)
    plan = chosen.plan
    if len(rungs) == 1:
        value = told(plan, chosen.value)
        yield f"Your network reaches {plan.metric} {value} on the validation samples."
        return
    yield (
        f"{len(climbed)} networks were tried, from {climbed[0].rung.name} up to "
        f"{climbed[-1].rung.name}; {chosen.rung.name} ({chosen.parameters:,} parameters) is the "
        f"smallest that no other beats by more than the noise: {plan.metric} "
        f"{told(plan, chosen.value)} on validation samples, {told(plan, chosen.seen)} on training "
        "samples."
    )


def _batch(steps: int, left: float) -> Iterator[str]:
    """What the batch says; nothing where there was too little time for it."""
    if left < HEART:
        yield f"One batch is known by heart after {steps} steps: the training can learn."
    elif steps >= STEPS or not math.isfinite(left):
        yield (
            f"After {steps} steps on one batch {100 * left:.0f} % of its first loss are left: a "
            "network that cannot learn one batch by heart has a fault in model, loss or rate; "
            "`nomagic check` looks for it."
        )


def _ladder(climbed: Sequence[Trained]) -> Iterator[Picture]:
    if len(climbed) < 2:
        return
    sizes = tuple(float(one.parameters) for one in climbed)
    series = (
        Series("training", sizes, tuple(one.seen for one in climbed)),
        Series("validation", sizes, tuple(one.value for one in climbed)),
    )
    says = "Larger networks fit the training samples better; what counts is the validation."
    metric = climbed[0].plan.metric
    yield Picture("The ladder", says, "parameters", metric, series, log="x")
