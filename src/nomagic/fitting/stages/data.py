"""What is in the data: how much, of what, in which ranges, and what is odd about it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nomagic.datasets import Data
from nomagic.fitting.case import Case, drawn
from nomagic.words import Picture, Series, Stage

LOOKED = 20_000
"""Samples that are looked at, at most."""
RARE = 0.1
"""A class with less than this share of the most frequent one's samples is called rare."""
SHOWN = 30
"""Bars in a picture, at most."""


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
        "range": _range(x),
        "constant inputs": _constant(x),
        "repeated samples": _repeated(x),
        "in training and test": _shared(case.data, case.test, case.seed),
    }
    classes = _classes(plan.form.task, y, plan.form.labels)
    if classes:
        numbers["classes"] = classes
    says = tuple(_says(numbers, case))
    return Stage("data", says, numbers, tuple(_pictures(plan.form.task, y, classes)))


def _some(data: Data, seed: int) -> tuple[Tensor, Tensor]:
    return data.batch(drawn(len(data), LOOKED, seed, "data"))


def _range(x: Tensor) -> dict[str, float]:
    values = x.double()
    return {
        "least": float(values.min()),
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "largest": float(values.max()),
    }


def _constant(x: Tensor) -> int:
    """Numbers of the input that are the same in all samples."""
    flat = x.reshape(len(x), -1)
    return int((flat == flat[:1]).all(0).sum())


def _keys(x: Tensor) -> list[bytes]:
    rows = x.reshape(len(x), -1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=12).digest() for row in rows]


def _repeated(x: Tensor) -> int:
    """Samples that are byte for byte the same as an earlier one."""
    return len(x) - len(set(_keys(x)))


def _shared(data: Data, test: Data | None, seed: int) -> int:
    """Test samples that are byte for byte in the training data, too, of those looked at."""
    if test is None:
        return 0
    known = set(_keys(_some(data, seed)[0]))
    return sum(key in known for key in _keys(_some(test, seed)[0]))


def _classes(task: str, y: Tensor, labels: tuple[str, ...]) -> dict[str, int]:
    if task not in ("classification", "binary"):
        return {}
    counts: Counter[int] = Counter(y.flatten().long().tolist())
    names: tuple[str, ...] = labels or (("no", "yes") if task == "binary" else ())
    return {
        names[code] if code < len(names) else str(code): counts[code] for code in sorted(counts)
    }


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
    most = max(classes.values(), default=0)
    rare = [name for name, count in classes.items() if count < RARE * most]
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
        names = sorted(classes, key=lambda name: -classes[name])[:SHOWN]
        least, most = min(classes.values()), max(classes.values())
        bars = Series(
            "samples", tuple(names), tuple(float(classes[name]) for name in names), kind="bars"
        )
        yield Picture(
            "Samples of each class",
            f"The largest class has {most} samples, the smallest {least}.",
            "class",
            "samples",
            (bars,),
        )
    elif task == "regression":
        values = y.double().flatten()
        counts, edges = torch.histogram(values, bins=SHOWN)
        middles = ((edges[1:] + edges[:-1]) / 2).tolist()
        line = Series("samples", tuple(middles), tuple(counts.tolist()))
        yield Picture(
            "The targets",
            f"They lie between {float(values.min()):.4g} and {float(values.max()):.4g}, with a "
            f"mean of {float(values.mean()):.4g}.",
            "target",
            "samples",
            (line,),
        )
