"""What is in the data: how much, of what, in which ranges, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nomagic.datasets import Data
from nomagic.fitting.case import Case, drawn
from nomagic.looking import facts
from nomagic.words import Picture, Stage

LOOKED = 20_000
"""Samples that are looked at, at most."""


def run(case: Case) -> Stage:
    """Count, measure and compare; nothing is changed."""
    plan = case.plan()
    part = plan.part(case.seed)
    x, y = _some(case.data, case.seed)
    numbers: dict[str, Any] = {
        "samples": {
            "training": len(part.train),
            "validation": len(part.held),
            "test": len(case.test) if case.test else 0,
        },
        "task": plan.form.task,
        "input": list(plan.form.shape),
        "outputs": plan.form.outputs,
        "range": facts.span(x),
        "constant inputs": facts.constant(x),
        "repeated samples": facts.repeated(facts.keys(x)),
        "in training and test": _shared(case.data, case.test, case.seed),
    }
    classes = facts.classes(plan.form.task, y, plan.form.labels)
    if classes:
        numbers["classes"] = classes
    says = tuple(_says(numbers, case))
    return Stage("data", says, numbers, tuple(_pictures(plan.form.task, case.own(y), classes)))


def _some(data: Data, seed: int) -> tuple[Tensor, Tensor]:
    return data.batch(drawn(len(data), LOOKED, seed, "data"))


def _shared(data: Data, test: Data | None, seed: int) -> int:
    """Test samples that are byte for byte in the training data, too, of those looked at."""
    if test is None:
        return 0
    known = set(facts.keys(_some(data, seed)[0]))
    return sum(key in known for key in facts.keys(_some(test, seed)[0]))


def _says(numbers: dict[str, Any], case: Case) -> Iterator[str]:
    counts = numbers["samples"]
    shape = " × ".join(map(str, numbers["input"])) or "1"
    yield (
        f"{counts['training']:,} samples to train on, {counts['validation']:,} to choose by, and "
        f"{counts['test']:,} set aside for the end; an input is {shape}."
    )
    yield from _odd(numbers)
    yield from (f"{remark[:1].upper()}{remark[1:]}." for remark in case.data.remarks)


def _odd(numbers: dict[str, Any]) -> Iterator[str]:
    classes = numbers.get("classes", {})
    rare = facts.rare(classes)
    if rare:
        yield (
            f"Rare: {', '.join(rare[:5])}{', …' if len(rare) > 5 else ''}, each with less than a "
            "tenth of the samples of the most frequent class; look at their own scores, too."
        )
    if numbers["constant inputs"]:
        yield f"{numbers['constant inputs']} numbers of the input are the same in all samples."
    if numbers["repeated samples"]:
        yield f"{numbers['repeated samples']} samples repeat another one exactly."
    if numbers["in training and test"]:
        yield (
            f"{numbers['in training and test']} test samples are in the training data, too: the "
            "test score is too good by them."
        )


def _pictures(task: str, y: Tensor, classes: dict[str, int]) -> Iterator[Picture]:
    if classes:
        yield facts.balance(classes)
    elif task == "regression":
        yield facts.histogram(y, "The targets", "target")
