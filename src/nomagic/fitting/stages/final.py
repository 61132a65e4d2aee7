"""The model is put together, tried on the test part, which no stage has seen, and saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from nomagic.engine import plain
from nomagic.engine.plan import Plan
from nomagic.fitting import noise, shrink
from nomagic.fitting.case import Case, drawn
from nomagic.fitting.dropout import passes
from nomagic.fitting.export import export
from nomagic.fitting.fitted import Fitted, Scaling
from nomagic.fitting.quality import Noise, temperature
from nomagic.fitting.stages import baselines, blend, mistakes, shrinking, squeeze
from nomagic.fitting.stages.baselines import told
from nomagic.fitting.trust import evidence
from nomagic.parts.trunk import Start
from nomagic.words import NotApplicable, Stage

EXPORTS = {"onnx": "model.onnx", "torch": "model.pt2", "int8": "model.int8.pt2"}
"""The formats that a model is written in beside its own, and the files."""
SHOWN = 300
"""Real inputs on which an export is held against the model."""
PASSES = 20
"""Passes with dropout."""
MOST = 10_000
"""Test samples on which trust is measured."""


def fitted(case: Case, scaling: Scaling | None = None) -> Fitted:
    """The ensemble as it was trained, or the small model that a limit asks for."""
    model = shrinking.chosen(case) or blend.model(case)
    return _alone(replace(model, scaling=scaling, recipe=case.wish.recipe))


def smallest(case: Case, scaling: Scaling | None = None) -> Fitted | None:
    """The smallest model that is as good, where it is another one; calibrated on its own."""
    stage = case.stage("shrink")
    name = stage.numbers["smallest as good"] if stage else ""
    if stage is None or name == stage.numbers["kept"]:
        return None
    model = shrinking.load(case, name)
    held = case.data.subset(case.plan().part(case.seed).held)
    x, y = held.batch(torch.arange(len(held)))
    heat = temperature(model.members(x), y, model.form.task)
    return _alone(replace(model, scaling=scaling, temperature=heat))


def _alone(model: Fitted) -> Fitted:
    """A model that needs no file of weights that its training began with."""
    edits = tuple(edit for edit in model.setup.edits if not isinstance(edit.change, Start))
    return replace(model, setup=replace(model.setup, edits=edits))


def trust(case: Case) -> Stage:
    """Whether the model knows what it does not know."""
    if case.test is None:
        return Stage("trust", skipped="there is no test part")
    model = fitted(case)
    plan = squeeze.plan_of(case)
    held = case.data.batch(plan.part(case.seed).held)
    test = case.test.batch(drawn(len(case.test), MOST, case.seed, "trust"))
    first = model.alone

    def members(x: Tensor) -> Tensor:
        return case.own(model.members(x))

    def dropout(x: Tensor) -> Tensor | NotApplicable:
        found = passes(first.served.networks[0], _prepared(first, x), PASSES, case.seed)
        return found if isinstance(found, NotApplicable) else case.own(found.cpu())

    pairs = [(x, case.own(y)) for x, y in (held, test)]
    return evidence(plan.form, members, *pairs[0], *pairs[1], dropout=dropout, seed=case.seed)


def _prepared(model: Fitted, x: Tensor) -> Tensor:
    x = x.to(model.setup.device)
    for step, values in zip(model.setup.inputs, model.fitted, strict=True):
        x = step.use(x, *values)
    return x


def test(case: Case) -> Stage:
    """Score the model and the best plain model on the test part, once."""
    if case.test is None:
        return Stage("test", skipped="there is no test part")
    model, plan = fitted(case), squeeze.plan_of(case)
    asked = Plan(plan.setup, case.test)
    every = torch.arange(len(case.test))
    x, targets = case.test.batch(every)
    targets = case.own(targets)
    together = case.own(plain.average(asked, list(model.members(x))))
    own = noise.score(asked, together, targets)
    models = baselines.fitted_models(case, plan)
    rivals = {name: case.own(make(asked, every)) for name, make in models.items()}
    best = _best(case, rivals)
    lead = noise.difference(asked, together, rivals[best], targets)
    numbers: dict[str, Any] = {
        "metric": plan.metric,
        "samples": len(case.test),
        "value": own.value,
        "low": own.low,
        "high": own.high,
        "scores": own.all,
        "best plain model": best,
        "its value": noise.metrics(asked, rivals[best], targets)[plan.metric],
        "lead": dict(zip(("value", "low", "high"), lead, strict=True)),
    }
    trusted = case.stage("trust")
    heat = trusted.numbers["temperature"] if trusted else 1.0
    wrong = mistakes.of(case.test, _shown(case, together), _shown(case, targets), heat)
    says = (*_says(plan, numbers), *wrong.says)
    return Stage("test", says, numbers, wrong.pictures, galleries=wrong.galleries)


def _best(case: Case, rivals: dict[str, Tensor]) -> str:
    """The one that was best on the validation samples; the test part chooses nothing."""
    stage = case.stage("squeeze") or case.stage("baselines")
    name = (stage.numbers.get("best plain model") or stage.numbers.get("best")) if stage else None
    return name if name in rivals else next(iter(rivals))


def _says(plan: Plan, numbers: dict[str, Any]) -> Iterator[str]:
    yield (
        f"On {numbers['samples']:,} test samples that no stage has seen: {plan.metric} "
        f"{told(plan, numbers['value'])} ({told(plan, numbers['low'])} … "
        f"{told(plan, numbers['high'])}); {baselines.NAMES[numbers['best plain model']]} has "
        f"{told(plan, numbers['its value'])}."
    )
    yield squeeze.lead(plan, numbers["best plain model"], numbers["lead"])


def _shown(case: Case, values: Tensor) -> Tensor:
    """Several targets, each in its own unit; a single one is so already."""
    if case.scaling is None or len(case.scaling.centre) == 1:
        return values
    centre, deviation = (
        torch.tensor(one) for one in (case.scaling.centre, case.scaling.deviation)
    )  # fmt: skip
    return values.reshape(len(values), -1) * deviation + centre


def complete(case: Case, model: Fitted) -> Fitted:
    """The model with what the stages found: temperature, threshold, noise, scores."""
    trusted, tested = case.stage("trust"), case.stage("test")
    facts = model.facts
    if tested is not None:
        value = tested.numbers
        facts = replace(
            facts,
            scores=value["scores"],
            intervals={value["metric"]: (value["low"], value["high"])},
            tested=value["samples"],
        )
    says = tuple(sentence for stage in case.stages for sentence in stage.says)
    model = replace(model, facts=replace(facts, says=says))
    if trusted is None:
        return model
    found = trusted.numbers
    known = found["noise"]
    return replace(
        model,
        temperature=found["temperature"],
        threshold=found["threshold"],
        noise=_told_back(msgspec.convert(known, Noise), case) if known else None,
    )


# -- exported -----------------------------------------------------------------------------------


def exported(case: Case, model: Fitted, kind: str, directory: Path) -> str:
    """Write the model in another format, and say how equal it is; or why it is not there."""
    data = case.test or case.data.subset(squeeze.plan_of(case).part(case.seed).held)
    small = ""
    if kind == "int8":
        try:
            found = shrink.quantise(replace(model, scaling=None), data)
        except shrink.ShrinkError as error:
            return f"{EXPORTS[kind]} is not written: {error}"
        model = replace(found.fitted, scaling=model.scaling)
        small = (
            f"{found.before:,} bytes of weights became {found.after:,}, which costs "
            f"{found.drop:.2g} of {model.facts.metric} on {len(data):,} samples; the graph is "
        )
    x = data.batch(torch.arange(min(SHOWN, len(data))))[0]
    made = export(model, "onnx" if kind == "onnx" else "torch", directory / EXPORTS[kind], x)
    return f"{made.file}: {small}equal on {made.samples} real inputs up to {made.difference:.1g}"


def _told_back(known: Noise, case: Case) -> Noise:
    """The noise in the unit of what the model answers: that of the targets as they were given."""
    factors = (1.0,) * len(known.variance)
    if case.scaling and len(case.scaling.centre) > 1:
        factors = case.scaling.deviation
    elif case.data.unit:
        factors = (1 / case.data.unit[1],)
    pairs = zip(known.variance, factors, strict=True)
    return replace(known, variance=tuple(variance * factor**2 for variance, factor in pairs))
