"""Samples that occur twice: exactly, among all that there are, or nearly, among those looked at.

Near copies are pairs that lie closer than any two samples of such data would by chance. Distances
r to the nearest and R to the k-th neighbour have (r / R)^d ~ Beta(1, k - 1) where samples are
spread evenly in d dimensions, so that 7 n t^d pairs with r < t R are expected for k = 8. The share
t is chosen such that this is `EXPECTED`, with d as Levina & Bickel (2004) estimate it. A pair
counts if it agrees in the whole input, too, not only in the features. Rows of few different
values do not spread evenly, so that nothing is said of theirs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nomagic.looking import facts
from nomagic.looking.study import Study
from nomagic.looking.subject import Subject, listed
from nomagic.parts.presets.kinds import kind
from nomagic.practices.data.no_duplicates import FEW, LEAK, NARROW, ROWS, SOME, WITHIN
from nomagic.probes.samples import SURE, bits
from nomagic.report.lines import count
from nomagic.words import Exhibit, Finding, Gallery, Section, Severity

NAME = "copies"
PRACTICE = "no-duplicates"
ALL, BYTES = 200_000, 2_000_000_000
"""Samples whose copies are counted, and bytes of them, at most."""
SHOWN = 6
"""Groups of copies that are shown."""
EXPECTED = 0.05
"""Pairs that are near by chance, in data of this size."""
NEAREST = 0.25
"""Near copies are at least so much nearer than other samples."""
ALIKE = 0.2
"""and differ by at most this share of their own deviation."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Groups of places in the data that hold the same, and what they say.

    ``shared`` counts by part the samples that the training part holds, too; ``within`` copies in
    one part beyond the first; ``against`` are groups with different targets.
    """

    groups: tuple[tuple[int, ...], ...]
    within: int
    shared: dict[str, int]
    against: tuple[tuple[int, ...], ...]


def look(study: Study) -> Section:
    """Count copies within the parts and across them, with equal and with different targets."""
    subject = study.subject
    places = _places(subject)
    copies = exact(subject, places)
    rich = _rich(subject)
    pairs = near(study) if rich else []
    numbers: dict[str, Any] = {
        "looked at": len(places),
        "exact copies": copies.within,
        "in training and elsewhere": copies.shared,
        "copies with other targets": len(copies.against),
        "near copies": len(pairs),
        "equal by accident": not rich,
    }
    findings = [
        *_leaks(subject, copies, rich),
        *_repeated(subject, copies, rich, len(places)),
        *_contradicting(subject, copies, rich),
        *_near(subject, pairs),
    ]
    says = tuple(_says(subject, copies, pairs, len(places), rich))
    return Section(
        NAME, says, tuple(findings), numbers, galleries=tuple(_galleries(subject, copies, pairs))
    )


def _places(subject: Subject) -> Tensor:
    """The places in the data that are compared: all in a part, or as many as is bounded."""
    data = subject.given.data
    used = subject.given.parts.values()
    every = torch.cat(list(used)).unique() if used else torch.arange(len(data))
    size = data.form.features * (data.x.element_size() if isinstance(data.x, Tensor) else 4)
    return every[: min(ALL, max(1_000, BYTES // max(1, size)))]


def exact(subject: Subject, places: Tensor) -> Copies:
    """Samples that are equal in every byte; those of one single value are left out."""
    data, part = subject.given.data, _part(subject)
    x: Any = data.x
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for chunk in places.split(4_096):
        rows = x[chunk].reshape(len(chunk), -1)
        flat = (rows == rows[:, :1]).all(1).tolist() if rows.shape[1] > 1 else [False] * len(rows)
        for place, key, blank in zip(chunk.tolist(), facts.keys(rows), flat, strict=True):
            if not blank:
                groups[key].append(place)
    found = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    names = tuple(subject.given.parts) or ("all",)
    shared = dict.fromkeys(names[1:], 0)
    within = 0
    for group in found:
        counts = torch.bincount(part[list(group)], minlength=len(names)).tolist()
        within += sum(max(0, number - 1) for number in counts)
        if counts[0]:
            for name, number in zip(names[1:], counts[1:], strict=True):
                shared[name] += number
    return Copies(found, within, shared, tuple(g for g in found if _differ(subject, g)))


def _part(subject: Subject) -> Tensor:
    codes = torch.zeros(len(subject.given.data), dtype=torch.long)
    for code, rows in enumerate(subject.given.parts.values()):
        codes[rows] = code
    return codes


def _differ(subject: Subject, group: tuple[int, ...]) -> bool:
    """Whether the targets of a group of equal classified samples differ."""
    y = subject.given.data.y
    if subject.codes is None or y is None:
        return False
    return len(set(y[list(group)].flatten().tolist())) > 1


def _rich(subject: Subject) -> bool:
    """Whether samples have so many varied numbers that none are equal by accident."""
    rows = subject.x[:1_000].reshape(min(1_000, len(subject)), -1)
    step = max(1, rows.shape[1] // 256)
    known = bits(rows[:, ::step].float().numpy())
    return known >= 2 * math.log2(len(subject.given.data)) + SURE


def _width(subject: Subject) -> int:
    coding = subject.given.data.coding
    return len(coding.columns) if coding else subject.given.data.form.features


# -- near copies ----------------------------------------------------------------------------------


def near(study: Study) -> list[tuple[int, int]]:
    """Pairs of places in the subject that are nearly, but not exactly, the same."""
    subject = study.subject
    if kind(subject.form) == "tokens" or len(subject) < 50:
        return []
    distances, places = study.neighbours
    if distances.shape[1] < 8:
        return []
    limit = _limit(distances)
    farthest = np.maximum(distances[:, -1], 0.5 * float(np.median(distances[:, -1])))
    rows = np.flatnonzero(distances[:, 0] <= limit * farthest)
    pairs = {tuple(sorted((int(row), int(places[row, 0])))) for row in rows}
    flat = subject.flat()
    return sorted((one, two) for one, two in pairs if _alike(flat[one], flat[two]))


def _limit(distances: np.ndarray[Any, Any]) -> float:
    """The share of the distance to the 8th neighbour that no pair reaches by chance."""
    last = distances[:, -1:]
    good = (distances[:, 0] > 0) & (last[:, 0] > 0)
    if not good.any():
        return 0.0
    logs = np.log(last[good] / distances[good, :-1])
    dimensions = 1 / max(1e-3, float(np.median(logs.mean(1))))
    return min(NEAREST, (EXPECTED / (7 * len(distances))) ** (1 / dimensions))


def _alike(one: Tensor, two: Tensor) -> bool:
    """Whether two inputs differ in some numbers, but by little."""
    difference = float((one - two).square().mean().sqrt())
    size = min(float(one.std()), float(two.std()))
    return 0 < difference <= ALIKE * size


# -- findings -------------------------------------------------------------------------------------


def _says(
    subject: Subject, copies: Copies, pairs: list[tuple[int, int]], looked: int, rich: bool
) -> Iterator[str]:
    exact = copies.within + sum(copies.shared.values())
    yield (
        f"Of {looked:,} samples "
        + (f"{exact:,} are an exact copy of another." if exact else "none is an exact copy.")
        + ("" if rich or not exact else " They have few different values: it may be by accident.")
    )
    if rich and kind(subject.form) != "tokens":
        yield (
            f"Of the {len(subject):,} that were compared with one another, "
            f"{count(len(pairs), 'pair')} lie nearer than chance would have it."
        )


def _leaks(subject: Subject, copies: Copies, rich: bool) -> Iterator[Finding]:
    for part, shared in copies.shared.items():
        size = len(subject.given.parts[part])
        if not shared:
            continue
        share = shared / size
        leak, some = (5 * LEAK, LEAK) if _width(subject) < NARROW else (LEAK, SOME)
        severity: Severity = "note"
        if rich and shared >= ROWS:
            severity = "fault" if share > leak else "warning" if share > some else "note"
        yield Finding(
            message=f"the {part} part holds copies of training samples",
            seen=f"{shared:,} of {size:,} {part} samples ({share:.1%}) are equal to a training "
            f"sample in every number; a score can be up to {100 * share:.1f} points too good",
            fix="drop duplicates before splitting, so that both copies fall on the same side",
            severity=severity,
            practice=PRACTICE,
        )


def _repeated(subject: Subject, copies: Copies, rich: bool, looked: int) -> Iterator[Finding]:
    share = copies.within / max(1, looked)
    if copies.within < ROWS or share <= FEW:
        return
    allowed = WITHIN * (2 if _width(subject) < NARROW else 1)
    yield Finding(
        message="samples are there more than once",
        seen=f"{copies.within:,} of {looked:,} samples ({share:.1%}) equal an earlier one of their "
        "part",
        fix="drop the copies, or say on purpose how often a sample counts",
        severity="warning" if rich and share > allowed else "note",
        practice=PRACTICE,
    )


def _contradicting(subject: Subject, copies: Copies, rich: bool) -> Iterator[Finding]:
    if not copies.against:
        return
    size = sum(map(len, copies.against))
    some = "; ".join(_told(subject, group) for group in copies.against[:3])
    yield Finding(
        message="equal samples have different targets",
        seen=f"{count(len(copies.against), 'group')} of {size:,} equal samples: {some}",
        fix="look at them and keep one, or drop them: no model can be right about both",
        severity="warning" if rich else "note",
        practice=PRACTICE,
    )


def _told(subject: Subject, group: tuple[int, ...]) -> str:
    return " and ".join(_called(subject, place) for place in group[:3])


def _called(subject: Subject, place: int) -> str:
    """A sample of the whole data, by row and target."""
    given = subject.given
    row = place if given.rows is None else int(given.rows[place])
    name = given.names[row] if given.names else f"row {row}"
    if subject.codes is None or given.data.y is None:
        return name
    return f"{name} ({subject.label(int(given.data.y.flatten()[place]))})"


def _near(subject: Subject, pairs: list[tuple[int, int]]) -> Iterator[Finding]:
    across = [pair for pair in pairs if subject.part[pair[0]] != subject.part[pair[1]]]
    codes = subject.codes
    against = [p for p in pairs if codes is not None and codes[p[0]] != codes[p[1]]]
    if not pairs:
        return
    held = max(1, int((subject.part > 0).sum()))
    leak = len(across) >= ROWS and len(across) > LEAK * held and _width(subject) >= NARROW
    told = "; ".join(f"{subject.caption(a)} and {subject.caption(b)}" for a, b in pairs[:3])
    yield Finding(
        message="some samples are nearly the same",
        seen=f"{count(len(pairs), 'pair')} among {len(subject):,} samples, {len(across):,} across "
        f"parts, {len(against):,} with different classes: {told}",
        fix="look at the pairs; those of one source belong on one side of the split",
        severity="warning" if leak or len(against) >= max(ROWS, 0.2 * len(pairs)) else "note",
        practice=PRACTICE,
    )


# -- shown ----------------------------------------------------------------------------------------


def _galleries(subject: Subject, copies: Copies, pairs: list[tuple[int, int]]) -> Iterator[Gallery]:
    shown = list(dict.fromkeys((*copies.against, *copies.groups)))[:SHOWN]
    if shown:
        exhibits = tuple(_stored(subject, group) for group in shown)
        yield Gallery("Exact copies", "One sample of each group.", exhibits)
    if pairs:
        places = [(place, f"pair {n}") for n, pair in enumerate(pairs[:SHOWN], 1) for place in pair]
        yield subject.gallery("Near copies", "Pairs side by side.", places)


def _stored(subject: Subject, group: tuple[int, ...]) -> Exhibit:
    """The first of a group of equal samples of the whole data."""
    from nomagic.exhibits import exhibit

    x = subject.given.data.batch(torch.tensor(group[:1]))[0][0]
    more = f" and {len(group) - 3} more" if len(group) > 3 else ""
    caption = _told(subject, group) + more
    if subject.table:
        values = x.flatten().tolist()
        return listed(subject.named(values, values), caption)
    return exhibit(x, subject.given.data.form, caption, rate=subject.given.rate)
