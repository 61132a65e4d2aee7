"""Boosted trees beside the networks of a table, where both together are better.

Trees and networks err in different places, so that their mean is often better than either. Several
forests, each grown on other samples, are one member of the ensemble with as many votes as the
validation samples give it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from nomagic.engine import plain
from nomagic.engine.draws import generator, stream
from nomagic.engine.lasting import replace_file
from nomagic.engine.plan import Part, Plan
from nomagic.fitting import forest, noise
from nomagic.fitting.case import Case
from nomagic.fitting.fitted import CHUNK, Fitted
from nomagic.fitting.forest import Forest
from nomagic.fitting.stages import squeeze
from nomagic.fitting.stages.baselines import told
from nomagic.words import Picture, Series, Stage

Array = np.ndarray[Any, Any]

FORESTS = 4
"""Forests at most, each grown on"""
DRAWN = 0.9
"""so much of the training samples."""
SETTINGS = {"learning_rate": 0.1, "max_leaf_nodes": 31, "max_depth": 12, "max_features": 0.5}
"""Twice as many forests at half the rate take four times as long and are no better (lab/log.md)."""
ROUNDS, LEAST, PATIENCE = 1_000, 50, 20
"""Rounds of a forest for one output, at most and at least, and those without a gain after which it
is grown.
"""
PROBE = 5
"""Rounds that are timed."""
VOTES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Votes that the trees may have for each network's."""


def run(case: Case) -> Stage:
    """Grow the forests, and let the validation samples say how many votes they have."""
    reason = forest.reason(case.base, case.data.form) or _lacks(case)
    if reason:
        return Stage("blend", skipped=reason)
    rounds = case.ledger.decide("blend.rounds", lambda: _rounds(case))
    if rounds < LEAST:
        return Stage("blend", skipped="there is no time to grow trees")
    plan, result = squeeze.trained(case)
    outputs, targets = squeeze.outputs_of(plan, result, case.seed)
    trees = _said(plan, plan.part(case.seed), _grown(case, plan, rounds))
    many = (0, *(max(1, round(share * len(outputs))) for share in VOTES))
    mixed = {votes: _mean(plan, outputs, trees, votes) for votes in many}
    votes = _votes(plan, mixed, targets, len(outputs))
    gain = noise.difference(plan, mixed[votes], mixed[0], targets)
    values = {count: noise.metrics(plan, one, targets)[plan.metric] for count, one in mixed.items()}
    numbers: dict[str, Any] = {
        "votes": votes,
        "networks": len(outputs),
        "rounds": rounds,
        "gain": dict(zip(("value", "low", "high"), gain, strict=True)),
        "by votes": {str(count): value for count, value in values.items()},
    }
    says = _says(plan, numbers, values[0], values[votes])
    return Stage("blend", tuple(says), numbers, (_picture(plan, len(outputs), values),))


def _votes(plan: Plan, mixed: Mapping[int, Tensor], targets: Tensor, networks: int) -> int:
    """Of the numbers of votes that make the loss or the metric better by more than the noise, and
    the metric not worse, the nearest to the networks' own which the best does not beat by more than
    the noise, since a few validation samples cannot tell them apart; 0 where there is none.
    """
    by_loss = Plan(replace(plan.setup, metric="loss"), plan.data)
    good = [votes for votes in mixed if votes and _helps(plan, by_loss, mixed, targets, votes)]
    losses = {v: noise.metrics(by_loss, mixed[v], targets)["loss"] for v in good}
    best = min(good, key=lambda votes: losses[votes], default=0)
    for votes in sorted(good, key=lambda votes: abs(math.log(votes / networks))):
        if noise.difference(by_loss, mixed[best], mixed[votes], targets)[1] <= 0:
            return votes
    return best


def _helps(
    plan: Plan, by_loss: Plan, mixed: Mapping[int, Tensor], targets: Tensor, votes: int
) -> bool:
    gap, low, _ = noise.difference(plan, mixed[votes], mixed[0], targets)
    lost = noise.difference(by_loss, mixed[votes], mixed[0], targets)[1]
    return gap >= 0 and (low > 0 or lost > 0)


def model(case: Case) -> Fitted:
    """The ensemble as the stages have made it so far."""
    plan, result = squeeze.trained(case)
    found = Fitted.of(plan, case.seed, result.networks)
    stage = case.stage("blend")
    if stage is None or not stage.numbers["votes"]:
        return found
    grown = _grown(case, plan, stage.numbers["rounds"])
    return replace(found, forest=grown, votes=stage.numbers["votes"])


def _mean(plan: Plan, outputs: Tensor, trees: Tensor, votes: int) -> Tensor:
    """The ensemble's outputs with so many votes of the trees (n, …)."""
    return plain.average(plan, [*outputs, *[trees] * votes])


# -- growing ------------------------------------------------------------------------------------


def _lacks(case: Case) -> str:
    """What the samples lack: trees learn from two classes at least, and stop by known ones."""
    plan = squeeze.plan_of(case)
    if plan.form.task == "regression":
        return ""
    part = plan.part(case.seed)
    y, held = (plan.fetch(rows)[1].unique() for rows in (part.train, part.held))
    if len(y) < 2 or not bool(torch.isin(held, y).any()):
        return "the samples to learn from lack the classes that trees need"
    return ""


def _rounds(case: Case) -> int:
    """Rounds of a forest for which there is time, by how long a few take."""
    plan = squeeze.plan_of(case)
    most = ROUNDS // max(1, plan.form.outputs)  # each round grows a tree for every class
    part, began = plan.part(case.seed), time.monotonic()
    _fit(plan, part, part.train, PROBE, 0)
    each = (time.monotonic() - began) / PROBE
    return min(most, math.floor(case.seconds / max(each, 1e-6)))


def _grown(case: Case, plan: Plan, rounds: int) -> Forest:
    """All forests as one, from the disk where they were grown before."""
    if "forest" not in case.memory:
        file = case.ledger.file("blend.safetensors")
        if not file.exists():
            grown = _grow(case, plan, rounds)
            replace_file(file, save({n: t.contiguous() for n, t in grown.state_dict().items()}))
        case.memory["forest"] = Forest(load(file.read_bytes()))
    return case.memory["forest"]


def _grow(case: Case, plan: Plan, rounds: int) -> Forest:
    """As many forests as there is time for, one after the other."""
    began = time.monotonic()
    one = partial(_one, case, plan, rounds=rounds)
    forests = [one(number=0)]
    spent = time.monotonic() - began
    count = case.ledger.decide(
        "blend.forests", lambda: min(FORESTS, max(1, math.floor(case.seconds / spent)))
    )
    return forest.joined([*forests, *(one(number=number) for number in range(1, count))])


def _one(case: Case, plan: Plan, *, rounds: int, number: int) -> Forest:
    """A forest on a part of the training samples, which has all of their classes."""
    case.tell(f"forest {number + 1}")
    part = plan.part(case.seed)
    random = generator(stream(case.seed, "forest", number))
    order = torch.randperm(len(part.train), generator=random)
    kept = part.train[order[: round(DRAWN * len(order))]]
    if plan.form.task != "regression":
        whole, some = (plan.fetch(rows)[1].unique() for rows in (part.train, kept))
        kept = kept if len(some) == len(whole) else part.train
    grown = _fit(plan, part, kept, rounds, number)
    several = plan.form.task == "classification"
    return forest.of(grown, plan.form.outputs, grown.classes_.astype(int) if several else None)


def _fit(plan: Plan, part: Part, rows: Tensor, rounds: int, seed: int) -> Any:
    """Trees of scikit-learn on these samples; the held-out ones say when they are grown."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    numbers = plan.form.task == "regression"
    kind: Any = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
    options = {"early_stopping": True, "n_iter_no_change": PATIENCE, "random_state": seed}
    (x, y), (x_held, y_held) = (_table(plan, part, some) for some in (rows, part.held))
    known = np.ones(len(y_held), bool) if numbers else np.isin(y_held, y)
    model = kind(max_iter=rounds, **options, **SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y, X_val=x_held[known], y_val=y_held[known])


def _table(plan: Plan, part: Part, rows: Tensor) -> tuple[Array, Array]:
    """Inputs as the networks get them, flat (n, numbers) float32, and targets (n,)."""
    x, y = plan.fetch(rows)
    given = plan.prepare(x, part.fitted)
    return given.flatten(1).float().cpu().numpy(), y.flatten().cpu().numpy()


@torch.no_grad()
def _said(plan: Plan, part: Part, grown: Forest) -> Tensor:
    """What the trees say of the held-out samples, as the networks' outputs are."""
    x = torch.from_numpy(_table(plan, part, part.held)[0])
    return torch.cat([grown(some) for some in x.split(CHUNK)])


# -- told ---------------------------------------------------------------------------------------


def _says(plan: Plan, numbers: dict[str, Any], alone: float, mixed: float) -> Iterator[str]:
    votes, networks = numbers["votes"], numbers["networks"]
    if not votes:
        yield (
            "Boosted trees beside the networks were tried and bring nothing that is more than the "
            "noise: the networks stay alone."
        )
        return
    gain = numbers["gain"]
    yield (
        f"Boosted trees get {votes} of {votes + networks} votes: together with them "
        f"{plan.metric} is {told(plan, mixed)} on the validation samples, and "
        f"{told(plan, alone)} without (a gain of {told(plan, gain['value'])}, "
        f"{told(plan, gain['low'])} … {told(plan, gain['high'])})."
    )


def _picture(plan: Plan, networks: int, values: dict[int, float]) -> Picture:
    shares = tuple(votes / (votes + networks) for votes in values)
    line = Series("validation", shares, tuple(values.values()))
    says = "At the left end the networks alone, further right ever more votes of the trees."
    return Picture("Votes of the trees", says, "share of the votes", plan.metric, (line,))
