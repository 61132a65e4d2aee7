"""The last drops: several networks at once, trained longer, each at its best epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from nomagic import described
from nomagic.engine import plain
from nomagic.engine.lasting import Curves, Result
from nomagic.engine.plan import Plan
from nomagic.fitting import forest, noise
from nomagic.fitting.case import Case, FitError, affordable
from nomagic.fitting.stages import baselines
from nomagic.fitting.stages.baselines import told
from nomagic.parts.presets import defaults
from nomagic.words import Picture, Series, Stage

LONGER = 4
"""Times the setup's epochs that are trained, at most."""


LAST, ENOUGH_HELD = 0.1, 500
"""The share of the samples that the last networks are chosen by, and their number, at least."""
FASTER = 0.5
"""The part of its time that a network may take when others are trained with it."""
ENOUGH = 0.5
"""The part of a preset's usual epochs below which fewer networks are trained instead."""


def plan_of(case: Case) -> Plan:
    """The final training: all members, or as many as there is time for, as long as it allows."""
    size = case.ledger.decide("squeeze.size", lambda: _size(case))
    return case.plan(
        members=size["members"], patience=None, epochs=size["epochs"], held_out=held_out(case)
    )


def held_out(case: Case) -> float:
    """The share of the last validation part: enough to choose an epoch and a temperature by, so
    that the others can be learnt from. It is a part of the one that the stages before chose by.
    """
    own = case.base.held_out
    if case.base.split != "fresh":
        return own
    return min(own, max(LAST, ENOUGH_HELD / len(case.data)))


def _size(case: Case) -> dict[str, int]:
    """Networks and epochs: better one that has learnt than five that have hardly begun."""
    wished = max(case.wish.members, 1)
    plan = case.plan(members=1, patience=None)
    least, most = plan.setup.epochs, LONGER * plan.setup.epochs
    if described.ours(plan.setup.model):
        usual = defaults(plan.form, len(plan.part(case.seed).train))["epochs"]
        least, most = max(least, round(ENOUGH * usual)), max(most, round(LONGER * usual / 2))
    alone = each = case.pace("squeeze.one", plan).epoch
    if wished > 1 and 2 * FASTER * alone * least < case.seconds:
        together = case.plan(members=wished, patience=None)
        each = case.pace("squeeze.all", together).epoch / wished
    members = affordable(case.seconds / max(least, 1), each, 1, wished) or 1
    epochs = affordable(case.seconds, each * members, 1, most) or 1
    return {"members": members, "epochs": epochs}


def trained(case: Case) -> tuple[Plan, Result]:
    """The final networks; at once where they are trained already."""
    plan = plan_of(case)
    result = case.train("squeeze", plan)
    if not result.networks:
        raise FitError(
            "none of the networks had a finite loss after an epoch; lower the setup's learning "
            "rate, or look at the training with `nomagic check`"
        )
    return plan, result


def run(case: Case) -> Stage:
    """Train, and say what the ensemble brings and whether a plain model does as well."""
    plan, result = trained(case)
    outputs, targets = outputs_of(plan, result, case.seed)
    whole = noise.score(plan, plain.average(plan, list(outputs)), targets)
    each = [noise.metrics(plan, one, targets)[plan.metric] for one in outputs]
    gain = noise.difference(plan, plain.average(plan, list(outputs)), outputs[0], targets)
    rival, ahead = _rival(case, plan, outputs, targets)
    numbers: dict[str, Any] = {
        "networks": len(outputs),
        "epochs": plan.setup.epochs,
        "best epochs": [curve.best + 1 for curve in result.curves],
        "failed": sum(bool(curve.failed) for curve in result.curves),
        "validation": {"value": whole.value, "low": whole.low, "high": whole.high},
        "one alone": {"mean": fmean(each), "values": each},
        "gain of the ensemble": dict(zip(("value", "low", "high"), gain, strict=True)),
        "best plain model": rival,
        "lead over it": dict(zip(("value", "low", "high"), ahead, strict=True)),
    }
    says = tuple(_says(plan, numbers, case.wish.members))
    pictures = (*curves(plan, result.curves), *_members(plan, outputs, targets))
    kept = plan.setup
    return Stage("squeeze", says, numbers, pictures, case.change(kept))


def outputs_of(plan: Plan, result: Result, seed: int) -> tuple[Tensor, Tensor]:
    """Outputs of all networks (members, n, …) on the validation samples, and their targets, on the
    CPU.
    """
    part = plan.part(seed)
    found = [plain.outputs_of(plan, network, part) for network in result.networks]
    return torch.stack([outputs for outputs, _ in found]).cpu(), found[0][1].cpu()


def _rival(
    case: Case, plan: Plan, outputs: Tensor, targets: Tensor
) -> tuple[str, tuple[float, float, float]]:
    """The best plain model, and the lead of the ensemble over it on the same samples."""
    held = plan.part(case.seed).held
    models = baselines.fitted_models(case, plan)
    found = {name: fitted(plan, held) for name, fitted in models.items()}
    sign = 1.0 if plan.higher else -1.0
    best = max(
        found, key=lambda name: sign * noise.metrics(plan, found[name], targets)[plan.metric]
    )
    together = plain.average(plan, list(outputs))
    return best, noise.difference(plan, together, found[best], targets)


# -- told ---------------------------------------------------------------------------------------


def _says(plan: Plan, numbers: dict[str, Any], wished: int) -> Iterator[str]:
    value, count = numbers["validation"], numbers["networks"]
    yield (
        f"{'One network' if count == 1 else f'{count} networks'} trained for {numbers['epochs']} "
        f"epochs, each kept at its best: {plan.metric} {told(plan, value['value'])} "
        f"({told(plan, value['low'])} … {told(plan, value['high'])}) on the validation samples."
    )
    if count < wished:
        yield f"There was time for {count} of {wished} networks."
    if numbers["failed"]:
        yield (
            f"{numbers['failed']} of them ran into NaN; what counts is the last good epoch before."
        )
    if count > 1:
        gain = numbers["gain of the ensemble"]
        yield (
            f"One alone has {told(plan, numbers['one alone']['mean'])} in the mean; together they "
            f"are {_by(plan, gain)}."
        )
    rival, ahead = numbers["best plain model"], numbers["lead over it"]
    if ahead["low"] <= 0 and rival == "boosted trees" and not forest.reason(plan.setup, plan.form):
        ends = f"{told(plan, ahead['low'])} … {told(plan, ahead['high'])}"
        yield (
            f"Boosted trees alone do as well or better (lead over them {ends}); whether both "
            "together are better still is what the stage blend asks."
        )
    else:
        yield lead(plan, rival, ahead)


def _by(plan: Plan, gap: dict[str, float]) -> str:
    word = "better" if gap["value"] >= 0 else "worse"
    low, high = (told(plan, gap[end]) for end in ("low", "high"))
    return f"{word} than the first by {told(plan, abs(gap['value']))} ({low} … {high})"


def lead(plan: Plan, rival: str, ahead: dict[str, float]) -> str:
    """Whether the networks beat the best plain model; said plainly where they do not."""
    name = baselines.NAMES[rival]
    ends = f"{told(plan, ahead['low'])} … {told(plan, ahead['high'])}"
    if ahead["low"] > 0:
        return f"The best plain model, {name}, is beaten by {told(plan, ahead['value'])} ({ends})."
    if ahead["high"] < 0:
        return (
            f"The best plain model, {name}, is better by {told(plan, -ahead['value'])} ({ends}): "
            "use it instead."
        )
    return (
        f"The best plain model, {name}, does as well within the noise (lead {ends}): it is cheaper "
        "and easier to explain, so take it unless the uncertainty of the networks is worth more."
    )


def curves(plan: Plan, all_: Sequence[Curves]) -> Iterator[Picture]:
    """Training and validation over the epochs, each member's mean."""
    good = [one for one in all_ if not one.failed] or list(all_)
    length = min(len(one.held.get(plan.metric, [])) for one in good)
    names = (
        [("loss", "loss")]
        if plan.metric == "loss"
        else [("loss", "loss"), (plan.metric, plan.metric)]
    )
    for name, axis in names:
        series = [
            _line(word, [getattr(one, which).get(name, []) for one in good], length)
            for word, which in (("training", "train"), ("validation", "held"))
        ]
        says = "Both in evaluation mode; the mean of the networks and their range."
        yield Picture(
            f"{axis[:1].upper()}{axis[1:]} over the epochs", says, "epoch", axis, tuple(series)
        )


def _line(name: str, values: Sequence[Sequence[float]], length: int) -> Series:
    columns = [[one[epoch] for one in values] for epoch in range(length)]
    ends = len(values) > 1
    return Series(
        name,
        tuple(float(epoch + 1) for epoch in range(length)),
        tuple(fmean(column) for column in columns),
        tuple(min(column) for column in columns) if ends else (),
        tuple(max(column) for column in columns) if ends else (),
    )


def _members(plan: Plan, outputs: Tensor, targets: Tensor) -> Iterator[Picture]:
    if len(outputs) < 2:
        return
    values = [
        noise.metrics(plan, plain.average(plan, list(outputs[:count])), targets)[plan.metric]
        for count in range(1, len(outputs) + 1)
    ]
    line = Series("ensemble", tuple(float(i + 1) for i in range(len(values))), tuple(values))
    says = "What more networks bring: the first alone, then averaged with the next ones."
    yield Picture("Size of the ensemble", says, "networks", plan.metric, (line,))
