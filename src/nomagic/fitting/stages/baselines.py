"""Plain models that any network must beat: constant, last value, linear, boosted trees.

All are scored by the metric of the setup on the same validation samples as the networks. A network
that never sees its input is the last of them: where it is as good, the input is not used.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nomagic.engine import plain
from nomagic.engine.plan import Plan
from nomagic.fitting.case import Case, drawn
from nomagic.fitting.noise import Score, score
from nomagic.words import InputStep, Picture, Series, Stage

MOST, CELLS = 5_000, 1_000_000
"""Samples that a linear model is fitted on, and numbers in them, at most; and"""
NUMBERS = 1_024
"""numbers of an input; with more, every so many are left out."""
TREES = 30_000
"""Samples that the trees are fitted on."""
BLIND = 3
"""Epochs of the network that never sees its input."""
SURE = 1e-6

Outputs = Callable[[Plan, Tensor], Tensor]
"""From rows of a plan's data to outputs as a network gives them."""


def run(case: Case) -> Stage:
    """Fit and score each; nothing is changed."""
    plan = case.plan()
    part = plan.part(case.seed)
    targets = plan.fetch(part.held)[1].cpu()
    found: dict[str, Score] = {}
    seconds: dict[str, float] = {}
    for name, fitted in fitted_models(case, plan).items():
        case.tell(name)
        began = time.perf_counter()
        found[name] = score(plan, fitted(plan, part.held), targets)
        seconds[name] = time.perf_counter() - began
    case.tell("a network that never sees its input")
    found["no input"] = _blind(case)
    numbers = {
        name: _plain(one) | {"seconds": seconds.get(name, 0.0)} for name, one in found.items()
    }
    best = _best(plan, {name: one for name, one in found.items() if name != "no input"})
    return Stage(
        "baselines",
        tuple(_says(plan, found, best)),
        {"best": best, "metric": plan.metric, "models": numbers},
        (_picture(plan, found),),
    )


def _plain(one: Score) -> dict[str, Any]:
    return {
        "value": one.value,
        "error": one.error,
        "low": one.low,
        "high": one.high,
        "scores": one.all,
    }


def _best(plan: Plan, found: dict[str, Score]) -> str:
    sign = 1.0 if plan.higher else -1.0
    return max(found, key=lambda name: sign * found[name].value)


def fitted_models(case: Case, plan: Plan) -> dict[str, Outputs]:
    """All plain models, fitted on the training part of a plan; once while the process lives."""
    train = plan.part(case.seed).train
    name = f"plain models of {len(train)}"
    if name not in case.memory:
        case.memory[name] = dict(models(plan, train, case.seed))
    return case.memory[name]


def models(plan: Plan, train: Tensor, seed: int) -> Iterator[tuple[str, Outputs]]:
    """The plain models that fit the task, each fitted on these rows."""
    yield "constant", _constant(plan, train)
    if plan.form.task == "sequence":
        yield "previous token", _bigram(plan, train)
        return
    if plan.form.tokens:
        return
    if plan.form.task == "regression" and len(plan.form.shape) == 2:
        yield "last value", _last
    most = min(MOST, max(500, CELLS // min(NUMBERS, plan.form.features)))
    yield "linear", _linear(plan, train[drawn(len(train), most, seed, "linear")])
    if len(plan.form.shape) == 1:
        yield "boosted trees", _trees(plan, train[drawn(len(train), TREES, seed, "trees")])


def _fetched(plan: Plan, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs as they come, flat (n, numbers), and targets."""
    x, y = plan.fetch(rows)
    flat = x.reshape(len(x), -1).double()
    step = -(-flat.shape[1] // NUMBERS)
    return flat[:, ::step].cpu(), y.cpu()


# -- one after the other ----------------------------------------------------------------------


def _constant(plan: Plan, train: Tensor) -> Outputs:
    """What is most likely without looking: class shares, means, token frequencies."""
    y = plan.fetch(train)[1].cpu()
    task, outputs = plan.form.task, plan.form.outputs
    if task in ("classification", "sequence"):
        row = _log_shares(torch.bincount(y.flatten(), minlength=outputs))
        shape = plan.form.shape[:1] if task == "sequence" else ()
    else:
        mean = y.double().reshape(len(y), -1).mean(0)
        row = mean if task == "regression" else torch.logit(mean, eps=SURE)
        shape = ()
    return lambda _, rows: row.expand(len(rows), *shape, -1)


def _log_shares(counts: Tensor) -> Tensor:
    """The logarithms of shares, with half a count added to each (Jeffreys)."""
    smooth = counts.double() + 0.5
    return (smooth / smooth.sum(-1, keepdim=True)).log()


def _bigram(plan: Plan, train: Tensor) -> Outputs:
    """Token frequencies after each token."""
    tokens = plan.form.tokens
    x, y = plan.fetch(train)
    pairs = torch.bincount(x.flatten() * tokens + y.flatten(), minlength=tokens * tokens)
    table = _log_shares(pairs.reshape(tokens, tokens))
    return lambda asked, rows: table[asked.fetch(rows)[0]]


def _last(plan: Plan, rows: Tensor) -> Tensor:
    """The last number of a series, for all that is to come."""
    return plan.fetch(rows)[0][:, -1, -1:].expand(-1, plan.form.outputs).double()


def _linear(plan: Plan, train: Tensor) -> Outputs:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models: dict[str, Any] = {
        "regression": RidgeCV(np.logspace(-2, 4, 7)),
        "multi-label": MultiOutputClassifier(LogisticRegression(C=0.1, max_iter=200)),
    }
    model = models.get(plan.form.task, LogisticRegression(C=0.1, max_iter=200))
    return _fitted(plan, train, make_pipeline(StandardScaler(), model))


def _trees(plan: Plan, train: Tensor) -> Outputs:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

    task = plan.form.task
    if task == "regression":
        model: Any = HistGradientBoostingRegressor(random_state=0)
        model = MultiOutputRegressor(model) if plan.form.outputs > 1 else model
    else:
        model = HistGradientBoostingClassifier(random_state=0)
        model = MultiOutputClassifier(model) if task == "multi-label" else model
    return _fitted(plan, train, model)


def _fitted(plan: Plan, train: Tensor, model: Any) -> Outputs:
    x, y = _fetched(plan, train)
    labels = y.numpy()
    if plan.form.task == "regression" and labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x.numpy(), labels)

    def outputs(asked: Plan, rows: Tensor) -> Tensor:
        return _as_outputs(asked, model, _fetched(asked, rows)[0].numpy())

    return outputs


def _as_outputs(plan: Plan, model: Any, x: np.ndarray[Any, Any]) -> Tensor:
    """Predictions of scikit-learn as a network gives them: numbers, or logits."""
    if plan.form.task == "regression":
        return torch.as_tensor(model.predict(x), dtype=torch.float64).reshape(len(x), -1)
    chances = model.predict_proba(x)
    if plan.form.task == "multi-label":
        yes = [each[:, -1] if each.shape[1] > 1 else each[:, 0] * 0 for each in chances]
        return torch.logit(torch.as_tensor(np.stack(yes, 1)), eps=SURE)
    if plan.form.task == "binary":
        return torch.logit(torch.as_tensor(chances[:, 1:]), eps=SURE)
    logits = torch.full((len(x), plan.form.outputs), math.log(SURE), dtype=torch.float64)
    logits[:, torch.as_tensor(model.classes_).long()] = (
        torch.as_tensor(chances).clamp(min=SURE).log()
    )
    return logits


def nothing(x: Tensor) -> tuple[Tensor, ...]:
    """Fit nothing."""
    return (x.new_zeros(()),)


def blank(x: Tensor, zero: Tensor) -> Tensor:
    """Inputs of zeros."""
    return x * zero.to(x.dtype)


def _blind(case: Case) -> Score:
    """The setup's own network on inputs of zeros, in no more than the stage's time."""
    steps = (*case.setup.inputs, InputStep("blank", nothing, blank))
    changed = replace(case.setup, inputs=steps, epochs=min(BLIND, case.setup.epochs), members=1)
    plan = Plan(changed, case.data)
    member = plan.members([case.seed])[0]
    run, deadline = plain.Running(plan, member), time.monotonic() + case.seconds
    run.model.train()
    for rows in (rows for epoch in range(changed.epochs) for rows in plan.batches(member, epoch)):
        run.step(rows)
        if time.monotonic() > deadline:
            break
    outputs, targets = plain.outputs_of(plan, run.model, plan.part(case.seed))
    return score(plan, outputs.cpu(), targets.cpu())


# -- told -------------------------------------------------------------------------------------


def told(plan: Plan, value: float) -> str:
    """A value of the metric: in per cent, or as a number."""
    from nomagic.engine import scores

    return f"{100 * value:.1f} %" if plan.metric in scores.PERCENT else f"{value:.3g}"


def _says(plan: Plan, found: dict[str, Score], best: str) -> Iterator[str]:
    one = found[best]
    yield (
        f"The best plain model is {NAMES[best]}: {plan.metric} {told(plan, one.value)} "
        f"({told(plan, one.low)} … {told(plan, one.high)}); a constant has "
        f"{told(plan, found['constant'].value)}. A network must beat it to be worth having."
    )
    blind, constant = found["no input"], found["constant"]
    sign = 1.0 if plan.higher else -1.0
    if sign * (blind.value - constant.value) > 2 * math.hypot(blind.error, constant.error):
        yield (
            f"The network scores {told(plan, blind.value)} without its input, more than a "
            "constant: it knows something that it should not, such as the order of the samples."
        )


NAMES = {
    "constant": "a constant",
    "previous token": "the previous token",
    "last value": "the last value",
    "linear": "a linear one",
    "boosted trees": "boosted trees",
}


def _picture(plan: Plan, found: dict[str, Score]) -> Picture:
    names = tuple(found)
    bars = Series(
        "validation",
        names,
        tuple(found[name].value for name in names),
        tuple(found[name].low for name in names),
        tuple(found[name].high for name in names),
        kind="bars",
    )
    says = f"What plain models reach on the validation samples, with 95 % intervals: {plan.metric}."
    return Picture("Plain models", says, "model", plan.metric, (bars,))
