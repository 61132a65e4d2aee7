"""Targets that are probably wrong: what models that had not seen a sample surely disagree with.

With cleanlab, by confident learning (Northcutt, Jiang & Chuang 2021): a sample counts if both of
its rules prune it, *and* the model gives its label less than `LOW` and another one above `HIGH`.
The second half is ours: where a model is often wrong, confident learning alone calls every hard
sample mislabelled (lab/log.md has the record). Without cleanlab there is the second half alone.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.words import Finding, Picture, Section, Series

Array = np.ndarray[Any, Any]

NAME = "labels"
LOW, HIGH = 0.1, 0.8
SHOWN = 18
"""Samples that are shown."""
LISTED = 200
"""Samples that are listed."""
SURE, SHARE, COUNT = 0.3, 0.01, 5
"""A warning: this share of what the model gets wrong, of all samples, and so many of them."""
FAR = 8.0
"""Deviations (by the median) of a number from what similar samples have."""
INSTALL = (
    "The ranking is a plain one, by the probability that the model gives to the label; pip install "
    "cleanlab ranks by confident learning, which also weighs how sure the model is of each class."
)


def look(study: Study) -> Section:
    """Rank the targets that the rest of the data disagrees with."""
    subject = study.subject
    if subject.task is None:
        return Section(NAME, skipped="there are no labels")
    if subject.task in ("sequence", "multi-label"):
        return Section(NAME, skipped=f"labels of {subject.task} data are not judged")
    guess = study.guess
    if guess is None or (guess.chances is None and guess.values is None):
        return Section(NAME, skipped="a class has a single sample among those looked at")
    if guess.values is not None:
        return _numbers(subject, guess.values)
    assert guess.chances is not None, "one of both is there"
    return _classes(subject, guess.chances)


def likely(codes: Array, chances: Array) -> tuple[Array, int | None]:
    """Places of probably wrong labels, worst first; and how many confident learning alone counts.

    Args:
        codes: the classes as given (n,).
        chances: out-of-sample probabilities (n, classes).
    """
    places = sure(codes, chances)
    if not installed():
        return places, None
    learned = _confident(codes, chances)
    return places[learned[places]], int(learned.sum())


def sure(codes: Array, chances: Array) -> Array:
    """Places of labels that the model surely disagrees with, worst first: the plain ranking."""
    given = chances[np.arange(len(codes)), codes]
    places = np.flatnonzero((given < LOW) & (chances.max(1) > HIGH))
    return places[np.argsort(given[places], kind="stable")]


def installed() -> bool:
    """Whether cleanlab is there."""
    return importlib.util.find_spec("cleanlab") is not None


def _confident(codes: Array, chances: Array) -> Array:
    """Which labels confident learning prunes, by both of its rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab.filter import find_label_issues  # pyright: ignore[reportUnknownVariableType]

        used = np.unique(codes)
        rows = chances[:, used] / chances[:, used].sum(1, keepdims=True)
        found: Any = find_label_issues(
            np.searchsorted(used, codes), rows, filter_by="both", n_jobs=1, verbose=False
        )
    return np.asarray(found, bool)


def _classes(subject: Subject, chances: Array) -> Section:
    assert subject.codes is not None, "there are classes"
    codes = subject.codes.numpy()
    said = chances.argmax(1)
    places, counted = likely(codes, chances)
    wrong = int((said != codes).sum())
    rows = [_row(subject, chances, int(place)) for place in places[:LISTED]]
    numbers: dict[str, Any] = {
        "method": "confident learning (cleanlab)" if counted is not None else "self-confidence",
        "accuracy of the model": 1 - wrong / len(codes),
        "likely wrong": len(places),
        "by confident learning alone": counted,
        "samples": rows,
    }
    galleries = ()
    if len(places):
        shown = [
            (int(place), f"rather {subject.label(int(said[place]))} ({chances[place].max():.0%})")
            for place in places[:SHOWN]
        ]
        says = "The label as given, and what models that had not seen the sample say instead."
        galleries = (subject.gallery("Labels to look at", says, shown),)
    pictures = (_confused(subject, codes, said, places),) if len(places) >= COUNT else ()
    return Section(
        NAME,
        tuple(_says(codes, places, wrong, counted)),
        tuple(_finding(subject, codes, said, places, wrong)),
        numbers,
        pictures,
        galleries,
    )


def _row(subject: Subject, chances: Array, place: int) -> dict[str, Any]:
    assert subject.codes is not None, "there are classes"
    code, said = int(subject.codes[place]), int(chances[place].argmax())
    return {
        "sample": subject.called(place),
        "label": subject.label(code),
        "its probability": float(f"{chances[place, code]:.3g}"),
        "rather": subject.label(said),
        "probability": float(f"{chances[place, said]:.3g}"),
    }


def _says(codes: Array, places: Array, wrong: int, counted: int | None) -> Iterator[str]:
    right = 1 - wrong / len(codes)
    yield (
        f"A plain model that had not seen them is right about {right:.1%} of {len(codes):,} "
        f"labels; of the {wrong:,} others it is sure in {len(places):,}."
    )
    if counted is not None and counted > 2 * max(COUNT, len(places)):
        yield (
            f"Confident learning alone would name {counted:,}; with a model that is wrong in "
            f"{1 - right:.0%} most of these are hard samples, not wrong labels."
        )
    if counted is None:
        yield INSTALL


def _finding(
    subject: Subject, codes: Array, said: Array, places: Array, wrong: int
) -> Iterator[Finding]:
    if not len(places):
        return
    share = len(places) / len(codes)
    much = share >= SHARE and len(places) >= COUNT and len(places) >= SURE * wrong
    told = "; ".join(
        f"{subject.called(int(one))} is labelled {subject.label(int(codes[one]))}, rather "
        f"{subject.label(int(said[one]))}"
        for one in places[:3]
    )
    yield Finding(
        message="likely label errors" if much else "labels worth a look",
        seen=f"{len(places):,} of {len(codes):,} labels ({share:.1%}), {len(places) / wrong:.0%} "
        f"of what the model gets wrong: {told}",
        fix="look at them, worst first, and correct what is wrong; do not drop them unseen",
        severity="warning" if much else "note",
    )


def _confused(subject: Subject, codes: Array, said: Array, places: Array) -> Picture:
    """Which labels seem to be taken for which."""
    pairs, counts = np.unique(np.stack([codes[places], said[places]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:20]
    names = tuple(
        f"{subject.label(int(pairs[0, at]))}, rather {subject.label(int(pairs[1, at]))}"
        for at in order
    )
    bars = Series("samples", names, tuple(float(counts[at]) for at in order), kind="bars")
    return Picture(
        "Where labels seem to be wrong",
        f"Most often: {names[0]}, {counts[order[0]]} times.",
        "label",
        "samples",
        (bars,),
    )


# -- numbers --------------------------------------------------------------------------------------


def _numbers(subject: Subject, values: Array) -> Section:
    """Targets of a regression that lie far from what similar samples have."""
    assert subject.y is not None, "there are targets"
    y = subject.y.reshape(len(subject), -1).double().numpy()
    rest = y - values
    spread = 1.4826 * np.median(np.abs(rest - np.median(rest, 0)), 0)
    away = (np.abs(rest - np.median(rest, 0)) / np.where(spread > 0, spread, 1)).max(1)
    places = np.flatnonzero(away > FAR)
    places = places[np.argsort(-away[places], kind="stable")]
    varied = float(((y - y.mean(0)) ** 2).mean())
    score = 1 - float((rest**2).mean()) / varied if varied > 0 else 0.0
    shown = [(int(at), f"expected {values[at, 0]:.4g}") for at in places[:SHOWN]]
    says = "What models that had not seen the sample expect instead."
    galleries = (subject.gallery("Targets to look at", says, shown),) if shown else ()
    findings = ()
    if len(places):
        first = int(places[0])
        findings = (
            Finding(
                message="targets far from what similar samples have",
                seen=f"{len(places):,} of {len(y):,} lie more than {FAR:g} deviations from what a "
                f"plain model expects: {subject.called(first)} has {y[first, 0]:.4g}, expected "
                f"{values[first, 0]:.4g}",
                fix="look at them: a wrong unit, a slipped digit, or a rare but true case",
                severity="note",
            ),
        )
    told = f"A plain model that had not seen them explains {max(0.0, score):.0%} of the targets"
    says = f"{told} (R²); {len(places):,} lie far from what it expects."
    return Section(NAME, (says,), findings, {"R²": score, "far": len(places)}, galleries=galleries)
