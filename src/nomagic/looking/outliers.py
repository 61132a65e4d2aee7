"""Samples that are like no other, and those that are most like their class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.words import Finding, Picture, Section, Series

Array = np.ndarray[Any, Any]

OUTLIERS, TYPICAL = "outliers", "typical and odd"
APART = 2.5
"""Times the median distance to the 8th neighbour from which on a sample stands apart."""
TAIL = 4.0
"""and so many deviations (by the median, of logarithms) beyond the middle."""
SHOWN = 12
LISTED = 50
CLASSES = 10
"""Classes whose typical and odd samples are shown."""
EACH = {True: 3, False: 6}
"""Typical samples that are shown: of each class, or of all."""


def apart(study: Study) -> Section:
    """Samples whose nearest neighbours are far away."""
    subject = study.subject
    if subject.form.tokens:
        return _surprising(subject)
    if len(subject) < 20:
        return Section(OUTLIERS, skipped=f"{len(subject)} samples are too few to call one odd")
    places = _outliers(study.distance)
    far = study.distance
    rows = [
        {"sample": subject.caption(int(at)), "distance": float(f"{far[at]:.3g}")}
        for at in places[:LISTED]
    ]
    says = (
        f"{len(places):,} of {len(subject):,} samples stand apart: they lie more than {APART:g} "
        "times as far from their 8th nearest neighbour as is usual."
        if len(places)
        else f"None of {len(subject):,} samples stands apart from the others."
    )
    shown = [(int(at), f"{far[at]:.1f} times as far") for at in places[:SHOWN]]
    title = "Samples that stand apart"
    galleries = (subject.gallery(title, "The farthest first.", shown),) if shown else ()
    numbers = {"apart": len(places), "farthest": float(far.max()), "samples": rows}
    return Section(
        OUTLIERS,
        (says,),
        tuple(_finding(subject, places, far)),
        numbers,
        (_spread(far),),
        galleries,
    )


def _outliers(far: Array) -> Array:
    """Places of what stands apart, farthest first."""
    logs = np.log(np.maximum(far, 1e-12))
    middle = float(np.median(logs))
    deviation = 1.4826 * float(np.median(np.abs(logs - middle))) or 1e-12
    places = np.flatnonzero((far > APART) & (logs - middle > TAIL * deviation))
    return places[np.argsort(-far[places], kind="stable")]


def _finding(subject: Subject, places: Array, far: Array) -> Iterator[Finding]:
    if len(places):
        some = ", ".join(f"{subject.called(int(at))} ({far[at]:.1f})" for at in places[:5])
        yield Finding(
            message="samples that are like no other",
            seen=f"{len(places):,} of {len(subject):,} ({len(places) / len(subject):.1%}); the "
            f"farthest, in times of the usual distance: {some}",
            fix="look at them: an outlier is a rare case, or a bug on the way here",
            severity="note",
            practice="no-corrupt-samples",
        )


def _spread(far: Array) -> Picture:
    counts, edges = np.histogram(far, bins=30)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    return Picture(
        "How far samples are from their neighbours",
        "Bars far to the right are samples that are like no other.",
        "distance to the 8th neighbour (times the median)",
        "samples",
        (Series("samples", tuple(middles), tuple(map(float, counts)), kind="line"),),
    )


def _surprising(subject: Subject) -> Section:
    """Pieces of text that the frequencies of their own pairs of tokens find improbable."""
    surprise = bits_a_token(subject.fed, subject.form.tokens).numpy()
    order = np.argsort(-surprise, kind="stable")
    middle = float(np.median(surprise))
    deviation = 1.4826 * float(np.median(np.abs(surprise - middle))) or 1e-12
    places = order[surprise[order] > middle + 6 * deviation]
    findings = ()
    if len(places):
        some = ", ".join(f"{subject.called(int(at))} ({surprise[at]:.1f})" for at in places[:5])
        findings = (
            Finding(
                message="pieces that are like no other",
                seen=f"{len(places):,} of {len(subject):,} need far more bits a token than the "
                f"usual {middle:.1f}: {some}",
                fix="look at them: another language, markup, or broken characters",
                severity="note",
                practice="no-corrupt-samples",
            ),
        )
    shown = [(int(at), f"{surprise[at]:.1f} bits a token") for at in order[:6]]
    says = (
        f"Known by the token before, a token has {surprise.mean():.2f} bits; the most surprising "
        f"piece has {surprise[order[0]]:.2f} a token."
    )
    return Section(
        OUTLIERS,
        (says,),
        findings,
        {"bits a token": float(surprise.mean()), "apart": len(places)},
        galleries=(subject.gallery("Most surprising pieces", "By pairs of tokens.", shown),),
    )


def bits_a_token(x: Tensor, tokens: int) -> Tensor:
    """Bits a token (n,) of pieces (n, length), given the token before, by their own frequencies."""
    size = min(tokens, 2_048)
    codes = x % size
    pairs = codes[:, :-1] * size + codes[:, 1:]
    counts = torch.bincount(pairs.flatten(), minlength=size * size).reshape(size, size).double()
    chances = (counts + 1 / size) / (counts.sum(1, keepdim=True) + 1)
    return -chances.flatten()[pairs].log2().mean(1)


# -- typical --------------------------------------------------------------------------------------


def typical(study: Study) -> Section:
    """The most and the least typical samples of each class."""
    subject = study.subject
    if subject.form.tokens and subject.codes is None:
        return _usual(subject)
    codes = subject.codes
    if codes is None:
        groups = [("", np.arange(len(subject)))]
    else:
        groups = [
            (subject.label(code), np.flatnonzero(codes.numpy() == code))
            for code in codes.unique()[:CLASSES].tolist()
        ]
    most: list[tuple[int, str]] = []
    least: list[tuple[int, str]] = []
    each = EACH[codes is not None]
    for _, rows in groups:
        order = rows[np.argsort(_from_own(study.features[rows]), kind="stable")]
        most += [(int(at), "") for at in order[:each]]
        least += [(int(at), "") for at in order[::-1][: min(each, len(order) - each)]]
    of = "its class" if codes is not None else "all samples"
    numbers = {
        "typical": [subject.called(at) for at, _ in most],
        "odd": [subject.called(at) for at, _ in least],
    }
    return Section(
        TYPICAL,
        (f"A typical sample is near the samples of {of}, an odd one far from them.",),
        numbers=numbers,
        galleries=(
            subject.gallery("Most typical", f"Nearest to the samples of {of}.", most),
            subject.gallery("Least typical", f"Farthest from the samples of {of}.", least),
        ),
    )


def _from_own(features: Array) -> Array:
    """The mean distance (n,) of each sample to the nearer half of a part of its class."""
    some = features[:: max(1, len(features) // 300)]
    squares = ((features**2).sum(1)[:, None] + (some**2).sum(1) - 2 * features @ some.T).clip(0)
    near = np.sort(np.sqrt(squares), axis=1)
    return near[:, : max(2, near.shape[1] // 2)].mean(1)


def _usual(subject: Subject) -> Section:
    surprise = bits_a_token(subject.fed, subject.form.tokens)
    places = surprise.argsort()[:6].tolist()
    shown = [(at, f"{float(surprise[at]):.1f} bits a token") for at in places]
    return Section(
        TYPICAL,
        ("The least surprising pieces are those of the most frequent pairs of tokens.",),
        numbers={"typical": [subject.called(at) for at in places]},
        galleries=(subject.gallery("Most typical", "The least surprising pieces.", shown),),
    )
