"""Which classes and groups a model that has not seen them is right about, and which not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.words import Finding, Picture, Section, Series

Array = np.ndarray[Any, Any]

NAME = "scores by class and group"
FEWEST = 20
"""Samples of a class or group that is judged."""
BEHIND = 0.15
"""A class or group whose accuracy, with its interval, is lower by this is told."""
SHOWN = 30
VALUES = 10
"""Values of a column of words whose groups are scored."""
Z = 1.96


def look(study: Study) -> Section:
    """Score each class and each group by a plain model, out of sample."""
    subject, guess = study.subject, study.guess
    if guess is None or (guess.chances is None and guess.values is None):
        return Section(NAME, skipped="there are no classes or numbers to be scored")
    groups = {"class": _classes(subject), **_groups(subject)}
    points = _points(subject, guess.chances, guess.values)
    known = {
        kind: {name: _score(points[rows]) for name, rows in found.items() if len(rows)}
        for kind, found in groups.items()
    }
    known = {kind: found for kind, found in known.items() if len(found) > 1}
    whole = _score(points)
    says = [_whole(subject, whole)]
    says += [_range(kind, found, guess.chances is not None) for kind, found in known.items()]
    findings: list[Finding] = []
    if guess.chances is not None:
        findings = [one for kind, found in known.items() for one in _behind(kind, found, whole)]
    pictures = tuple(
        _picture(kind, found, guess.chances is not None) for kind, found in list(known.items())[:6]
    )
    return Section(NAME, tuple(says), tuple(findings), {"all": whole, **known}, pictures)


def _points(subject: Subject, chances: Array | None, values: Array | None) -> Array:
    """For each sample whether the model is right (1 or 0), or how far off it is."""
    if chances is not None and subject.codes is not None:
        return (chances.argmax(1) == subject.codes.numpy()).astype(float)
    assert values is not None, "one of both is there"
    assert subject.y is not None, "there are targets"
    y = subject.y.reshape(len(subject), -1).double().numpy()
    return np.abs(y - values).mean(1)


def _score(points: Array) -> dict[str, float]:
    """The mean with its 95 % interval: Wilson's for shares, else by the standard error."""
    n, mean = len(points), float(points.mean())
    if np.isin(points, (0, 1)).all():
        middle = (mean + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * math.sqrt(mean * (1 - mean) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    else:
        middle, half = mean, Z * float(points.std()) / math.sqrt(n)
    return {"samples": n, "score": mean, "low": middle - half, "high": middle + half}


def _classes(subject: Subject) -> dict[str, Array]:
    codes = subject.codes
    if codes is None:
        return {}
    return {
        subject.label(code): np.flatnonzero(codes.numpy() == code)
        for code in codes.unique().tolist()
    }


def _groups(subject: Subject) -> dict[str, dict[str, Array]]:
    """Rows by part, by group, and by each value of a column of words."""
    found: dict[str, dict[str, Array]] = {}
    if len(subject.parts) > 1:
        part = subject.part.numpy()
        found["part"] = {n: np.flatnonzero(part == at) for at, n in enumerate(subject.parts)}
    groups = subject.given.data.groups
    if groups is not None:
        codes = groups[subject.places].numpy()
        found["group"] = {f"group {c}": np.flatnonzero(codes == c) for c in np.unique(codes)}
    coding = subject.given.data.coding
    if coding is not None and subject.x.ndim == 2:
        at = {name: place for place, name in enumerate(coding.names)}
        for column in coding.columns:
            if 2 <= len(column.values) <= VALUES:
                found[column.name] = {
                    value: np.flatnonzero(subject.x[:, at[f"{column.name}={value}"]].numpy() > 0)
                    for value in column.values
                }
    return found


def _whole(subject: Subject, whole: dict[str, float]) -> str:
    if subject.codes is None:
        return (
            f"A plain model that had not seen them is off by {whole['score']:.3g} on average "
            f"({whole['samples']:,.0f} samples)."
        )
    return (
        f"A plain model that had not seen them is right about {whole['score']:.1%} of "
        f"{whole['samples']:,.0f} samples: this is what the data give away easily, not what a "
        "network can reach."
    )


def _range(kind: str, found: dict[str, dict[str, float]], shares: bool) -> str:
    worst, best = sorted(found, key=lambda name: found[name]["score"] * (1 if shares else -1))[
        :: len(found) - 1
    ][:2]
    told = (lambda v: f"{v:.1%}") if shares else (lambda v: f"{v:.3g}")
    return (
        f"By {kind}: worst {worst} ({told(found[worst]['score'])}), best {best} "
        f"({told(found[best]['score'])})."
    )


def _behind(
    kind: str, found: dict[str, dict[str, float]], whole: dict[str, float]
) -> Iterator[Finding]:
    worse = {
        name: one
        for name, one in found.items()
        if one["samples"] >= FEWEST and one["high"] < whole["score"] - BEHIND
    }
    if worse:
        told = ", ".join(
            f"{name} ({one['score']:.0%} of {one['samples']:,.0f})"
            for name, one in list(worse.items())[:5]
        )
        yield Finding(
            message=f"some are much harder than the rest, by {kind}",
            seen=f"{told}, against {whole['score']:.0%} of all",
            fix="score them on their own; more or cleaner samples of these help most",
            severity="note",
            practice="know-class-balance" if kind == "class" else "",
        )


def _picture(kind: str, found: dict[str, dict[str, float]], shares: bool) -> Picture:
    names = sorted(found, key=lambda name: found[name]["score"])[:SHOWN]
    what = "accuracy" if shares else "mean absolute error"
    bars = Series(
        what,
        tuple(names),
        tuple(found[name]["score"] for name in names),
        tuple(found[name]["low"] for name in names),
        tuple(found[name]["high"] for name in names),
        kind="bars",
    )
    says = f"With 95 % intervals; a plain model, out of sample: {what}."
    return Picture(f"Scores by {kind}", says, kind, what, (bars,))
