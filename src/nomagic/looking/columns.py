"""The columns of a table: constant, doubled, telling the target, capped, numbering the rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.practices.data.no_corrupt_samples import FAR, REST, SENTINEL
from nomagic.words import Finding, Section

Array = np.ndarray[Any, Any]

NAME = "columns"
MOST = 200
"""Columns that are looked at, at most."""
TELLS = 0.99
"""A column that alone predicts the target this well (balanced accuracy, R²) tells it."""
SAMPLES = 50
"""Samples below which nothing is said of that."""
CAPPED = 0.01
"""A largest value that this share of the samples has is a cap,"""
VARIED = 50
"""in columns of more different values than these."""
CELLS = 5_000
"""Rows on which columns are held against the target, at most."""


def look(study: Study) -> Section:
    """Look at each column on its own, and for columns that are the same."""
    subject = study.subject
    if not subject.table:
        return Section(NAME, skipped="the inputs are no rows of a table")
    names, x = _columns(subject)
    numbers = {"columns": {name: _told(x[:, at]) for at, name in enumerate(names)}}
    findings = [
        *_constant(names, x),
        *_doubled(names, x),
        *_strays(names, x, subject),
        *_counting(names, x, subject),
        *_capped(names, x),
        *_telling(names, x, subject),
    ]
    total = len(subject.given.columns) or subject.form.features
    says = [f"{total:,} columns reach the network; {len(names):,} hold numbers."]
    says += [f"{remark[:1].upper()}{remark[1:]}." for remark in subject.given.data.remarks]
    return Section(NAME, tuple(says), tuple(findings), numbers)


def _columns(subject: Subject) -> tuple[list[str], Array]:
    """The columns of numbers as they lie: not those that stand for words or for what is missing."""
    x = subject.x.reshape(len(subject), -1).double().numpy()
    coding = subject.given.data.coding
    if coding is None:
        given = subject.given.columns
        names = list(given) if given else [f"column {at}" for at in range(1, x.shape[1] + 1)]
        return names[:MOST], x[:, :MOST]
    kept = {column.name for column in coding.columns if not column.values}
    at = [place for place, name in enumerate(coding.names) if name in kept][:MOST]
    return [coding.names[place] for place in at], x[:, at]


def _told(values: Array) -> dict[str, Any]:
    least, first, median, third, most = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return {
        "least": least,
        "quarter": first,
        "median": median,
        "three quarters": third,
        "largest": most,
        "different": len(np.unique(values)),
    }


def _constant(names: list[str], x: Array) -> Iterator[Finding]:
    fixed = [name for name, column in zip(names, x.T, strict=True) if (column == column[0]).all()]
    if fixed:
        yield Finding(
            message="columns that never change",
            seen=f"{_some(fixed)}: one value in all {len(x):,} samples",
            fix="drop them; to standardise one divides by zero",
            severity="warning",
        )


def _doubled(names: list[str], x: Array) -> Iterator[Finding]:
    """Columns equal to another, or a multiple of it and a number."""
    deviation = x.std(0)
    moving = np.flatnonzero(deviation > 0)
    scaled = (x[:, moving] - x[:, moving].mean(0)) / deviation[moving]
    alike = np.abs(scaled.T @ scaled / max(1, len(x))) > 1 - 1e-9
    pairs = [
        (int(moving[i]), int(moving[j]))
        for i, j in zip(*np.nonzero(np.triu(alike, 1)), strict=True)
    ]
    varied = [(i, j) for i, j in pairs if len(np.unique(x[:, i])) > 2]
    same = [f"{names[i]} = {names[j]}" for i, j in pairs if (x[:, i] == x[:, j]).all()]
    multiples = [f"{names[i]} and {names[j]}" for i, j in varied if (x[:, i] != x[:, j]).any()]
    if same:
        yield Finding(
            message="columns that are there twice",
            seen=f"{_some(same)}, in all {len(x):,} samples",
            fix="drop one of each pair",
            severity="warning",
        )
    if multiples:
        yield Finding(
            message="columns that say the same in another unit",
            seen=f"{_some(multiples)} have a correlation of 1",
            fix="one of each pair is enough",
            severity="note",
        )


def _strays(names: list[str], x: Array, subject: Subject) -> Iterator[Finding]:
    """Isolated values far from all others, as no-corrupt-samples judges them: -999 for missing."""
    for name, column in zip(names, x.T, strict=True):
        first, median, third = np.quantile(column, [0.25, 0.5, 0.75])
        width = third - first
        if width <= 0:
            continue
        away = np.abs(column - median) / width
        far = away > SENTINEL
        values = np.unique(column[far])
        limit = SENTINEL if len(values) == 1 and far.sum() > 1 else FAR
        rest = float(away[away <= limit].max(initial=0.0))
        places = np.flatnonzero(away > limit)
        if len(places) and rest <= REST:
            yield Finding(
                message=f"{name} has values that no other comes near",
                seen=f"{len(places):,} of {len(column):,} samples, such as {column[places[0]]:g} "
                f"in {subject.called(int(places[0]))}; all others lie within {rest:.1f} "
                f"interquartile ranges of {median:.4g}",
                fix="if it stands for a missing value, make it one; else repair or drop it",
                severity="warning",
                practice="no-corrupt-samples",
            )


def _counting(names: list[str], x: Array, subject: Subject) -> Iterator[Finding]:
    """Columns that number the rows."""
    rows = subject.rows.double().numpy()
    counting = [
        name
        for name, column in zip(names, x.T, strict=True)
        if len(x) >= SAMPLES and len(np.unique(column - rows)) == 1
    ]
    if counting:
        yield Finding(
            message="a column numbers the rows",
            seen=f"{_some(counting)} grows by 1 from row to row",
            fix="drop it: it says where a sample lies in the file, not what it is",
            severity="warning",
        )


def _capped(names: list[str], x: Array) -> Iterator[Finding]:
    told: list[str] = []
    for name, column in zip(names, x.T, strict=True):
        values, counts = np.unique(column, return_counts=True)
        often = counts[-1] >= max(20, CAPPED * len(column))
        if len(values) > VARIED and often and counts[-1] > 5 * np.median(counts[-11:-1]):
            told.append(f"{name} at {values[-1]:g} ({counts[-1] / len(column):.1%} of the samples)")
    if told:
        yield Finding(
            message="columns that seem to be capped",
            seen=_some(told),
            fix="what lies above the cap is not known: mark it, or leave these samples out of the "
            "score",
            severity="note",
        )


# -- the target -----------------------------------------------------------------------------------


def _telling(names: list[str], x: Array, subject: Subject) -> Iterator[Finding]:
    """Columns that alone give the target away."""
    if (
        subject.y is None
        or len(x) < SAMPLES
        or subject.task not in ("classification", "binary", "regression")
    ):
        return
    some = np.arange(len(x))[:: max(1, len(x) // CELLS)]
    y = subject.y.reshape(len(x), -1)[:, 0].double().numpy()[some]
    classes = subject.codes is not None
    exact: list[str] = []
    telling: dict[str, float] = {}
    for name, column in zip(names, x[some].T, strict=True):
        if (column == column[0]).all():
            continue
        if _same(column, y, classes):
            exact.append(name)
        elif (score := _alone(column[:, None], y, classes)) >= TELLS:
            telling[name] = score
    if exact:
        yield Finding(
            message="a column is the target in another form",
            seen=f"{_some(exact)} gives the target exactly in all {len(some):,} samples",
            fix="drop it, unless it is really known before the prediction is made",
            severity="fault",
            practice="keep-test-clean",
        )
    if telling:
        what = "balanced accuracy" if classes else "R²"
        told = [f"{name} ({what} {score:.3f})" for name, score in telling.items()]
        yield Finding(
            message="a column alone tells the target",
            seen=f"{_some(told)}, on samples that the one-column model had not seen",
            fix="ask when it is written down: what is known only afterwards must not be an input",
            severity="warning",
            practice="keep-test-clean",
        )


def _same(column: Array, y: Array, classes: bool) -> bool:
    """Whether a column is the target: one value for each class, or a multiple of the numbers."""
    if not classes:
        return bool(y.std() > 0) and abs(float(np.corrcoef(column, y)[0, 1])) > 1 - 1e-9
    values, codes = np.unique(column, return_inverse=True)
    pairs = np.unique(np.stack([codes, y]), axis=1).shape[1]
    return len(values) == len(np.unique(y)) == pairs


def _alone(column: Array, y: Array, classes: bool) -> float:
    """The cross-validated score of a small tree that sees one column."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if classes and np.bincount(y.astype(int))[np.unique(y).astype(int)].min() < 3:
        return 0.0
    model: Any = DecisionTreeClassifier if classes else DecisionTreeRegressor
    folds = (StratifiedKFold if classes else KFold)(3, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cross_val_score(
            model(min_samples_leaf=5, random_state=0), column, y, cv=folds,
            scoring="balanced_accuracy" if classes else "r2",
        )  # fmt: skip
    return float(found.mean())


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
