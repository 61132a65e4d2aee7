"""Small and deployable: what accuracy costs in bytes and milliseconds, and the smallest that does.

The candidates are the ensemble, one of its networks, and students that learnt from it (distilled),
as large as it or smaller. With a limit (``--max-bytes``, ``--max-ms``) the best within it becomes
the model; without one the ensemble stays, and the smallest that is as good is saved beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nomagic.engine.plan import Plan
from nomagic.fitting import saved, shrink
from nomagic.fitting.case import Case, FitError, affordable, measured
from nomagic.fitting.fitted import Fitted
from nomagic.fitting.shrink import Candidate, Frontier, ShrinkError
from nomagic.fitting.stages import blend, squeeze
from nomagic.parts.presets import Rung, defaults, small
from nomagic.words import Stage

WHOLE, NETWORKS, ALONE = "ensemble", "networks without trees", "one network"
SHARE = 0.3
"""The part of the stage's time that one student may take."""
LEAST = 2
"""Epochs of a student, at least."""
MEASURED = 4_000
"""Answers by which the candidates are measured, at most."""
STUDENTS = 2
"""Small networks that are distilled into, at most, beside one like the ensemble's own."""


def run(case: Case) -> Stage:
    """Measure the candidates on the validation samples and choose."""
    plan, teacher = squeeze.plan_of(case), blend.model(case)
    models = {WHOLE: teacher}
    if len(teacher.parts) > 1:
        models[ALONE] = teacher.alone
    if teacher.forest is not None and len(teacher.networks) > 1:
        models[NETWORKS] = teacher.bare
    reasons: list[str] = []
    for name, student in _students(case).items():
        case.tell(f"distilling into {name}")
        try:
            models[name] = _distilled(case, name, student, teacher)
        except ShrinkError as error:
            reasons.append(str(error))
            break
    most = MEASURED // max(1, plan.form.shape[0] if plan.form.task == "sequence" else 1)
    held = case.data.subset(plan.part(case.seed).held[:most])
    measured = case.ledger.decide(
        "shrink.measured", lambda: [asdict(one) for one in shrink.measured(models, held)]
    )
    found = _chosen(case, plan, [Candidate(**one) for one in measured])
    limited = case.wish.bytes is not None or case.wish.ms is not None
    kept = found.best.name if limited else WHOLE
    numbers = {
        "candidates": measured,
        "smallest as good": found.chosen.name,
        "kept": kept,
        "distilled keeps": _kept(measured),
    }
    says = (*_says(found, limited), *reasons)
    return Stage("shrink", says, numbers, found.pictures)


def _chosen(case: Case, plan: Plan, candidates: list[Candidate]) -> Frontier:
    try:
        return shrink.frontier(
            candidates,
            plan.metric,
            higher=plan.higher,
            max_bytes=case.wish.bytes,
            max_ms=case.wish.ms,
        )
    except ShrinkError as error:
        raise FitError(str(error)) from error


# -- students -------------------------------------------------------------------------------------


def _students(case: Case) -> dict[str, Plan]:
    """Setups of students that there is time for: one like the networks, and smaller ones."""
    found: dict[str, Plan] = {}
    rungs = (Rung("a student of the same size", case.setup.model), *_smaller(case))
    for number, rung in enumerate(rungs):
        plan = _plan(case, rung)
        epochs = case.ledger.decide(f"shrink.{number}.epochs", lambda p=plan: _epochs(case, p))
        if epochs and len(found) <= STUDENTS:
            found[rung.name] = _plan(case, rung, epochs)
    return found


def _epochs(case: Case, plan: Plan) -> int:
    seconds = SHARE * case.seconds
    return affordable(seconds, measured(plan, case.seed).epoch, LEAST, plan.setup.epochs)


def _smaller(case: Case) -> tuple[Rung, ...]:
    """Presets with fewer weights than the network."""
    own = _size(case, case.setup.model)
    fewer = [rung for rung in small(case.data.form) if _size(case, rung.model) < own / 2]
    return tuple(fewer[-STUDENTS:])


def _size(case: Case, model: Callable[..., Any]) -> int:
    return sum(p.numel() for p in model(case.data.form).parameters())


def _plan(case: Case, rung: Rung, epochs: int = 0) -> Plan:
    """A student's plan; another network than the setup's own is trained as is usual for it."""
    setup = replace(case.setup, members=1, patience=None)
    if rung.model is not case.setup.model:
        usual = defaults(case.data.form, len(case.plan().part(case.seed).train))
        setup = replace(
            setup,
            model=rung.model,
            edits=(),
            optimizer=usual["optimizer"],
            schedule=usual["schedule"],
            rate=1.0,
            decay=None,
            block_rates=None,
        )
    return Plan(replace(setup, epochs=epochs or setup.epochs), case.data)


def _distilled(case: Case, name: str, plan: Plan, teacher: Fitted) -> Fitted:
    """A student, from the disk where it was trained before."""
    folder = place(case, name)
    if not (folder / "recipe.toml").exists():
        said = partial(_said, case, teacher)
        saved.save(shrink.distil(plan, case.seed, teacher, said=said), folder)
    return saved.load(folder, case.base)


def _said(case: Case, teacher: Fitted) -> Tensor:
    """What the teacher says of all data, the same for all students."""
    if "said" not in case.memory:
        case.memory["said"] = teacher.outputs(case.data)
    return case.memory["said"]


def place(case: Case, name: str) -> Path:
    """Where a student is kept."""
    return case.ledger.file(f"shrink-{name.replace(' ', '-')}")


def chosen(case: Case) -> Fitted | None:
    """The student or the one network that a limit asks for; None where it is the ensemble."""
    stage = case.stage("shrink")
    name = stage.numbers["kept"] if stage else WHOLE
    if name == WHOLE:
        return None
    return load(case, name)


def load(case: Case, name: str) -> Fitted:
    """A candidate by its name."""
    if name in (WHOLE, NETWORKS, ALONE):
        model = blend.model(case)
        return {WHOLE: model, NETWORKS: model.bare, ALONE: model.alone}[name]
    return saved.load(place(case, name), case.base)


# -- told -----------------------------------------------------------------------------------------


def _kept(measured: list[dict[str, Any]]) -> float:
    """The share of the ensemble's gain that the student of the same size keeps."""
    score: Mapping[str, float] = {one["name"]: one["score"] for one in measured}
    student = score.get("a student of the same size")
    alone = score.get(ALONE, score[WHOLE])
    return 0.0 if student is None else shrink.kept(alone, student, score[WHOLE])


def _says(found: Frontier, limited: bool) -> tuple[str, ...]:
    words = [f"{one.name} ({_price(one)})" for one in found.candidates]
    found_so = (f"{text[:1].upper()}{text[1:]}." for text in found.says)
    says = [f"Measured: {'; '.join(words)}.", *found_so]
    if limited:
        says.append(f"Within the limits {found.best.name} is the best, and becomes the model.")
    elif found.chosen.name != WHOLE:
        says.append(
            f"The ensemble stays the model; {found.chosen.name} is saved beside it, in small/."
        )
    return tuple(says)


def _price(one: Candidate) -> str:
    return f"{one.score:.4g}, {one.bytes / 1000:,.0f} kB, {one.single:.2g} ms"
