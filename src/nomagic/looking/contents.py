"""How much there is, of what, and how it is split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nomagic.looking import facts
from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.practices.data.know_class_balance import RATIO
from nomagic.words import Finding, Picture, Section

NAME = "what there is"
SURE = 1e-6
"""A difference between the parts that is less likely by chance is told."""
UNEVEN = 0.05
"""and is one of so many points of a share at least."""


def look(study: Study) -> Section:
    """Count samples, parts and classes."""
    subject = study.subject
    given = subject.given
    sizes = {name: len(rows) for name, rows in given.parts.items()} or {"all": len(given.data)}
    y = given.data.y if subject.y is not None else None
    codes = y.flatten().long() if y is not None and subject.codes is not None else None
    counts = (
        facts.classes(subject.form.task, codes, subject.form.labels) if codes is not None else {}
    )
    numbers: dict[str, Any] = {
        "samples": sizes,
        "task": subject.task or "none",
        "input": list(subject.form.shape),
        "outputs": subject.form.outputs if subject.task else 0,
    }
    if counts:
        numbers["classes"] = counts
    if given.data.groups is not None:
        numbers["groups"] = len(given.data.groups.unique())
    findings = [*_imbalance(counts)]
    if codes is not None:
        by_part = _by_part(subject, codes)
        numbers |= {"classes by part": by_part} if len(by_part) > 1 else {}
        findings += [*_absent(by_part), *_drift(by_part)]
    says = tuple(_says(subject, sizes, counts))
    return Section(NAME, says, tuple(findings), numbers, tuple(_pictures(subject, counts)))


def _says(subject: Subject, sizes: dict[str, int], counts: dict[str, int]) -> Iterator[str]:
    shape = " × ".join(map(str, subject.form.shape)) or "1"
    told = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    parts = f" ({told})" if len(sizes) > 1 else ""
    tokens = (
        f" tokens of {subject.form.tokens} different ones" if subject.form.tokens else " numbers"
    )
    yield f"{sum(sizes.values()):,} samples{parts}; an input has {shape}{tokens}."
    if subject.task is None:
        yield "There are no targets, so nothing is said about labels and scores."
    elif counts:
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        each = f"from {counts[least]:,} samples ({least}) to {counts[most]:,} ({most})"
        each = f"each with {counts[most]:,} samples" if counts[least] == counts[most] else each
        yield (
            f"{len(counts)} classes, {each}; always saying {most} is right in "
            f"{counts[most] / sum(counts.values()):.1%}."
        )
    elif subject.task == "multi-label":
        yield f"Each sample has {subject.form.outputs} labels of yes or no."
    setup = subject.given.setup
    if setup is not None and subject.given.data.test_rows is None:
        share = f"{setup.held_out:.0%}"
        yield f"The split is the one of seed {subject.seed}: {setup.split}, {share} held out."


def _imbalance(counts: dict[str, int]) -> Iterator[Finding]:
    rare = facts.rare(counts)
    if not rare:
        return
    most = max(counts.values())
    some = ", ".join(f"{name} ({counts[name]:,})" for name in rare[:5])
    yield Finding(
        message="some classes are rare",
        seen=f"{some}{', …' if len(rare) > 5 else ''}: less than a {RATIO}th of the {most:,} "
        "samples of the most frequent class",
        fix="look at the score of each class; try weights in the loss, or sampling the rare ones "
        "more often",
        severity="note",
        practice="know-class-balance",
    )


def _by_part(subject: Subject, codes: torch.Tensor) -> dict[str, dict[str, int]]:
    parts = subject.given.parts or {"all": torch.arange(len(codes))}
    names = [subject.label(code) for code in range(int(codes.max()) + 1)]
    return {
        part: dict(
            zip(names, torch.bincount(codes[rows], minlength=len(names)).tolist(), strict=True)
        )
        for part, rows in parts.items()
    }


def _absent(by_part: dict[str, dict[str, int]]) -> Iterator[Finding]:
    for part, counts in by_part.items():
        absent = [
            name for name, n in counts.items()
            if not n and any(other[name] for other in by_part.values())
        ]  # fmt: skip
        if absent:
            yield Finding(
                message=f"classes are missing from the {part} part",
                seen=f"{', '.join(absent[:5])}{', …' if len(absent) > 5 else ''}: "
                f"{len(absent)} of {len(counts)} classes have no sample there",
                fix="shuffle before splitting, or split within each class (stratified)",
                severity="fault" if part == "training" else "warning",
                practice="know-class-balance",
            )


def _drift(by_part: dict[str, dict[str, int]]) -> Iterator[Finding]:
    """Class shares that differ between the parts more than by chance."""
    from scipy.stats import chi2_contingency

    used = {part: counts for part, counts in by_part.items() if sum(counts.values())}
    if len(used) < 2:
        return
    names = [name for name in next(iter(used.values())) if any(c[name] for c in used.values())]
    table = [[counts[name] for name in names] for counts in used.values()]
    chance = float(np.asarray(chi2_contingency(table)[1]))
    shares = {part: {n: c[n] / sum(c.values()) for n in names} for part, c in used.items()}
    spread = {
        n: max(s[n] for s in shares.values()) - min(s[n] for s in shares.values()) for n in names
    }
    worst = max(spread, key=spread.__getitem__)
    if chance < SURE and spread[worst] > UNEVEN:
        told = ", ".join(f"{share[worst]:.1%} of the {part} part" for part, share in shares.items())
        yield Finding(
            message="the classes are not equally frequent in all parts",
            seen=f"{worst} is {told} (by chance with p = {chance:.1g})",
            fix="split within each class (stratified), unless the parts differ on purpose",
            severity="warning",
            practice="know-class-balance",
        )


def _pictures(subject: Subject, counts: dict[str, int]) -> Iterator[Picture]:
    if counts:
        yield facts.balance(counts)
    elif subject.task == "regression" and subject.y is not None:
        yield facts.histogram(subject.y, "The targets", "target")
