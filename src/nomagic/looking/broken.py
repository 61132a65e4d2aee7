"""Samples that cannot be meant: not finite, unreadable, of one value, on another scale, clipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nomagic import exhibits
from nomagic.looking.study import Study
from nomagic.looking.subject import Broken, Subject
from nomagic.parts.presets.kinds import kind
from nomagic.practices.data.no_corrupt_samples import BLANK, BYTE, FACTOR, MOST
from nomagic.words import Finding, Gallery, Section

NAME = "broken samples"
PRACTICE = "no-corrupt-samples"
SHOWN = 12
"""Samples that are shown."""
NEAR = 2.0
"""A ratio of scales within this factor of 255 is that of bytes to numbers in [0, 1]."""
FLAT = 0.01
"""A sound with this share of its samples at its peak is clipped (an unclipped voice has 0.1 %)."""
LOUD = 0.05
"""Share of clipped sounds that is told."""
FEW = 0.2
"""Beyond this share samples on another scale are the nature of the data."""


def look(study: Study) -> Section:
    """Look for samples that were broken before they came here."""
    subject = study.subject
    findings: list[Finding] = list(subject.given.findings)
    galleries: list[Gallery] = []
    for one in subject.given.broken:
        findings.append(_set_aside(one))
        galleries += _pictures(one, subject)
    for finding, places in _found(subject):
        findings.append(finding)
        shown = [(place, "") for place in places[:SHOWN]]
        galleries.append(_raw(subject, finding.message, shown))
    looked = f"{len(subject):,} samples were looked at"
    says = [f"{looked}, and none is broken." if not findings else f"{looked}."]
    numbers = {"set aside": sum(one.count for one in subject.given.broken if _samples(one))}
    return Section(NAME, tuple(says), tuple(findings), numbers, galleries=tuple(galleries))


def _samples(one: Broken) -> bool:
    return not one.what.startswith("column:")


def _set_aside(one: Broken) -> Finding:
    if not _samples(one):
        return Finding(
            message="a column cannot be used",
            seen=one.what.removeprefix("column:"),
            fix=one.fix,
            severity="warning",
            practice=PRACTICE,
        )
    some = ", ".join(one.first) + (", …" if one.count > len(one.first) else "")
    return Finding(
        message=f"samples that {one.what}",
        seen=f"{one.count:,} ({some}), left out of all that follows",
        fix=one.fix,
        severity="fault" if one.proven else "warning",
        practice=PRACTICE,
    )


def _pictures(one: Broken, subject: Subject) -> list[Gallery]:
    form = subject.given.data.form
    if one.x is None or kind(form) not in ("image", "table", "series"):
        return []
    names = [*one.first, *("" for _ in one.x[len(one.first) :])]
    shown = tuple(
        exhibits.exhibit(x, form, name, subject.given.columns)
        for x, name in zip(one.x[:SHOWN], names, strict=False)
    )
    return [Gallery(f"Samples that {one.what}", "What is not finite is magenta.", shown)]


def _raw(subject: Subject, title: str, places: list[tuple[int, str]]) -> Gallery:
    shown = tuple(subject.show(place, said, raw=True) for place, said in places)
    return Gallery(f"{title[:1].upper()}{title[1:]}", "As they lie, before any step.", shown)


def _found(subject: Subject) -> Iterator[tuple[Finding, list[int]]]:
    what = kind(subject.given.data.form)
    if what in ("tokens", "table"):
        return
    x = subject.x.reshape(len(subject), -1).float()
    blank = (x == x[:, :1]).all(1)
    yield from _blank(subject, blank, what)
    yield from _scales(subject, x, blank)
    if what == "image":
        yield from _dark(subject, x)
    if what == "waveform":
        yield from _clipped(subject, x)


def _blank(subject: Subject, blank: Tensor, what: str) -> Iterator[tuple[Finding, list[int]]]:
    places = blank.nonzero().flatten().tolist()
    if not places or len(places) > MOST * len(subject):
        return
    codes = subject.codes
    several = codes is None or len(codes[blank].unique()) > 1 or len(places) == 1
    noun = {"image": "images of one colour", "waveform": "silent sounds"}.get(
        what, "inputs of one value"
    )
    grave = len(places) > BLANK * len(subject) and several
    yield (
        Finding(
            message=noun,
            seen=f"{len(places):,} of {len(subject):,} samples hold a single value: "
            + _names(subject, places),
            fix="drop them, or find out what erased them; with labels of several classes they "
            "teach that nothing means something",
            severity="warning" if grave or len(places) <= 5 else "note",
            practice=PRACTICE,
        ),
        places,
    )


def _scales(subject: Subject, x: Tensor, blank: Tensor) -> Iterator[tuple[Finding, list[int]]]:
    """Samples, or whole parts, whose largest number is another by far."""
    peak = x.abs().amax(1)
    lively = peak[~blank]
    middle = float(lively.median()) if len(lively) else 0.0
    if middle <= 0:
        return
    ratio = peak / middle
    apart = ~blank & ((ratio > 5 * FACTOR) | (ratio < 1 / (5 * FACTOR)))
    places = apart.nonzero().flatten().tolist()
    if not places:
        return
    worst = float(ratio[apart].median())
    times = worst if worst > 1 else 1 / worst
    byte = BYTE / NEAR <= times <= BYTE * NEAR
    share = len(places) / len(subject)
    mixed = share <= FEW or byte
    if not mixed:
        return
    of_bytes = "; 255 is the factor between bytes and numbers in [0, 1]" if byte else ""
    yield (
        Finding(
            message="samples on different scales",
            seen=f"{len(places):,} of {len(subject):,} samples ({_by_part(subject, apart)}) are "
            f"about {times:,.0f} times as {'large' if worst > 1 else 'small'} as the "
            f"others{of_bytes}: {_names(subject, places)}",
            fix="divide all images by 255 exactly once, in one place"
            if byte
            else "bring all samples to one scale, or drop these",
            severity="fault" if byte else "warning",
            practice=PRACTICE,
        ),
        places,
    )


def _by_part(subject: Subject, where: Tensor) -> str:
    counts = torch.bincount(subject.part[where], minlength=len(subject.parts)).tolist()
    return ", ".join(
        f"{count:,} {name}" for name, count in zip(subject.parts, counts, strict=True) if count
    )


def _dark(subject: Subject, x: Tensor) -> Iterator[tuple[Finding, list[int]]]:
    """Bytes that are nearly all 0 and 1: an image that was scaled before it became bytes."""
    stored: Any = subject.given.data.x
    largest = float(x.max())
    if stored.dtype != torch.uint8 or not 0 < largest * BYTE <= 1.5:
        return
    yield (
        Finding(
            message="images of bytes hold 0 and 1 only",
            seen=f"the largest byte is {largest * BYTE:.0f} of 255, so that the network gets "
            f"numbers up to {largest:.4f}",
            fix="keep the images as bytes from 0 to 255, or as floats from 0 to 1",
            severity="warning",
            practice=PRACTICE,
        ),
        list(range(min(6, len(x)))),
    )


def _clipped(subject: Subject, x: Tensor) -> Iterator[tuple[Finding, list[int]]]:
    """Sounds whose tops are flat: neighbouring samples at the peak."""
    peak = x.abs().amax(1, keepdim=True)
    top = x.abs() >= 0.999 * peak
    share = (top[:, 1:] & top[:, :-1]).float().mean(1)
    places = (
        ((share > FLAT) & (peak[:, 0] > 0) & ~(x == x[:, :1]).all(1)).nonzero().flatten().tolist()
    )
    if not places or (len(places) < LOUD * len(subject) and len(places) < 3):
        return
    yield (
        Finding(
            message="clipped sounds",
            seen=f"{len(places):,} of {len(subject):,} sounds lie at their peak for more than "
            f"{FLAT:.0%} of the time: {_names(subject, places)}",
            fix="record with less gain, or clip the clean ones alike as augmentation",
            severity="note",
            practice=PRACTICE,
        ),
        places,
    )


def _names(subject: Subject, places: list[int]) -> str:
    some = ", ".join(subject.called(place) for place in places[:5])
    return some + (", …" if len(places) > 5 else "")
