"""Tables with columns of numbers and text become one matrix of numbers.

Numbers stay as they are; what is missing becomes the column's median, with a column of 0 and 1
that says where. Text becomes one column of 0 and 1 for each value, missing being one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nomagic.config import nearest
from nomagic.datasets.samples import DataError

MOST_VALUES = 100
"""A column with more different texts holds names or remarks, not categories."""
MISSING = ("", "?", "nan", "NaN", "NA", "None", "<NA>", "NaT", "null")
"""How missing values are written in columns of text."""

Array = np.ndarray[Any, Any]


def coded(frame: Any, target: str) -> tuple[Array, Array, tuple[str, ...]]:
    """Inputs (n, columns) float32, the target column as given, and remarks on what was done.

    Args:
        frame: a pandas frame, or anything else with columns by name, such as a dict of arrays.
        target: the column to predict.

    Raises:
        DataError: no such column, missing targets, dates, or text that is no category.
    """
    names = [str(name) for name in getattr(frame, "columns", frame)]
    if target not in names:
        raise DataError(
            f"the frame has no column {target!r}{nearest(target, names)}; it has {', '.join(names)}"
        )
    if len(names) < 2:
        raise DataError(f"the frame has no column beside the target {target!r}; expected inputs")
    y = np.asarray(frame[target])
    if not len(y):
        raise DataError("the frame has no rows; expected at least two samples")
    inputs: list[Array] = []
    remarks: list[str] = []
    for name in names:
        if name != target:
            numbers, remark = _column(name, np.asarray(frame[name]))
            inputs.append(numbers)
            remarks.extend([remark] if remark else [])
    return np.concatenate(inputs, 1, dtype=np.float32), _targets(target, y), tuple(remarks)


def _targets(name: str, y: Array) -> Array:
    missing = _missing(y)
    if missing.any():
        rows = ", ".join(map(str, np.flatnonzero(missing)[:5]))
        raise DataError(
            f"the target {name!r} is missing in {missing.sum()} of {len(y)} rows (row {rows}"
            f"{', …' if missing.sum() > 5 else ''}): remove these rows"
        )
    if y.dtype.kind != "O":
        return y
    numbers = all(isinstance(value, (int, float, np.number)) for value in y)
    return y.astype(float if numbers else str)


def _column(name: str, values: Array) -> tuple[Array, str]:
    """One column as numbers (n, k), and a remark unless it stayed as it was."""
    if values.ndim != 1 or values.dtype.kind in "mMc":
        raise DataError(
            f"column {name!r} holds {values.dtype} of shape {values.shape}; expected numbers or "
            "text: turn dates into numbers such as the hour or the day of the week"
        )
    missing = _missing(values)
    if missing.all():
        raise DataError(f"column {name!r} has no values; expected some: drop it")
    try:
        present = values[~missing].astype(np.float64)
    except (ValueError, TypeError):
        return _categories(name, values, missing)
    numbers = np.full(len(values), np.nan)
    numbers[~missing] = present
    return _numbers(name, numbers, missing)


def _missing(values: Array) -> Array:
    if values.dtype.kind in "biu":
        return np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.isin(values.astype(str), MISSING)


def _numbers(name: str, values: Array, missing: Array) -> tuple[Array, str]:
    if np.isinf(values).any():
        rows = ", ".join(map(str, np.flatnonzero(np.isinf(values))[:5]))
        raise DataError(f"column {name!r} holds infinity (row {rows}): remove these rows")
    if not missing.any():
        return values[:, None], ""
    median = float(np.median(values[~missing]))
    filled = np.where(missing, median, values)
    remark = f"{name}: {missing.sum()} missing, filled with the median, {median:g}, and marked"
    return np.stack([filled, missing], 1), remark


def _categories(name: str, values: Array, missing: Array) -> tuple[Array, str]:
    texts = np.where(missing, "missing", values.astype(str))
    found, codes = np.unique(texts, return_inverse=True)
    if len(found) > MOST_VALUES:
        raise DataError(
            f"column {name!r} holds {len(found)} different texts in {len(texts)} rows, such as "
            f"{found[0]!r}; expected at most {MOST_VALUES}: drop it, or turn it into numbers"
        )
    remark = f"{name}: one column for each of {len(found)} values"
    if missing.any():
        remark += f", {missing.sum()} missing being one"
    return np.eye(len(found), dtype=np.float32)[codes], remark


def read_csv(lines: Iterator[str]) -> dict[str, Array]:
    """The columns of a comma-separated file with a header, as text."""
    import csv

    rows = csv.reader(lines)
    header = next(rows)
    return {
        name: np.array(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)
    }
