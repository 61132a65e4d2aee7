"""`nomagic.look`: read what the user names, and ask one question after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nomagic.datasets import DataError
from nomagic.engine.plan import SetupError
from nomagic.engine.scores import MetricError
from nomagic.looking import (
    broken,
    columns,
    contents,
    copies,
    fed,
    labels,
    network,
    outliers,
    reading,
    scores,
)
from nomagic.looking.feeding import subject
from nomagic.looking.study import Study
from nomagic.looking.subject import LookError, Subject
from nomagic.setups import UnknownSetupError
from nomagic.words import Section, Survey

ERRORS = (LookError, DataError, SetupError, MetricError, UnknownSetupError)
"""What bad input raises; each says what came, what was expected and what to do."""
QUESTIONS: tuple[tuple[str, Callable[[Study], Section]], ...] = (
    (contents.NAME, contents.look),
    (fed.NAME, fed.look),
    (broken.NAME, broken.look),
    (copies.NAME, copies.look),
    (columns.NAME, columns.look),
    (outliers.OUTLIERS, outliers.apart),
    (labels.NAME, labels.look),
    (outliers.TYPICAL, outliers.typical),
    (scores.NAME, scores.look),
    (network.NAME, network.look),
)
"""The sections in order."""

Tell = Callable[[Survey], None]


def look(
    named: Any,
    *,
    target: str | None = None,
    data: str | Path | None = None,
    samples: int | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Survey:
    """Look at data: what is in it, and what a network is really fed.

    Args:
        named: a built-in name, ``file.py`` or ``file.py:name`` with a `Setup`, a ``.npy``, ``.npz``
            or ``.csv`` file, or a folder of images or wavs in subfolders; from Python also a
            `Setup`, arrays (x, y), a torch ``Dataset``, or (frame, target column).
        target: the column of a table that is to be predicted; by default one called target or
            label, or else the last.
        data: the folder of built-in data.
        samples: how many samples are looked at closely, drawn at random.
        seed: of everything that is drawn.
        tell: called with the survey so far, again and again.

    Raises:
        LookError, UnknownSetupError, DataError: there is nothing of the kind, or no sample in it
            can be used.
    """
    began = time.perf_counter()
    given = reading.read(named, target, data, samples, seed)
    study = Study(subject(given, samples, seed))
    sections: list[Section] = []

    def survey(phase: str) -> Survey:
        return Survey(
            subject=given.data.name,
            form=study.subject.form,
            sections=tuple(sections),
            context=_context(study.subject),
            remarks=_remarks(study.subject),
            seconds=time.perf_counter() - began,
            phase=phase,
        )

    for name, question in QUESTIONS:
        if tell is not None:
            tell(survey(name))
        sections.append(_asked(name, question, study))
    return survey("")


def _asked(name: str, question: Callable[[Study], Section], study: Study) -> Section:
    """The answer, or why there is none: one that fails must not cost the others."""
    try:
        return question(study)
    except Exception as error:
        return Section(name, skipped=f"it could not be looked at ({type(error).__name__}: {error})")


def _context(subject: Subject) -> dict[str, Any]:
    return {
        "samples": subject.given.total or len(subject.given.data),
        "looked at closely": len(subject),
        "task": subject.task or "none",
        "seed": subject.seed,
    }


def _remarks(subject: Subject) -> tuple[str, ...]:
    total = subject.given.total or len(subject.given.data)
    some = f"{len(subject):,} of {total:,} samples were looked at closely, drawn at random"
    sampled = (some + "; --samples N takes more",) if len(subject) < total else ()
    return (*sampled, *subject.given.remarks)
