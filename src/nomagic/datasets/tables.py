"""Tables with columns of numbers and text become one matrix of numbers.

Numbers stay as they are; what is missing becomes the column's median, with a column of 0 and 1
that says where. Text becomes one column of 0 and 1 for each value, missing being one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nomagic.config import nearest
from nomagic.datasets.samples import DataError

MOST_VALUES = 100
"""A column with more different texts holds names or remarks, not categories."""
MISSING = ("", "?", "nan", "NaN", "NA", "None", "<NA>", "NaT", "null")
"""How missing values are written in columns of text."""
MARK = "missing"
"""The value that stands for them."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """How one column becomes numbers.

    Text becomes one column of 0 and 1 for each of ``values``. In numbers, what is missing becomes
    the ``median``, and is ``marked`` in a column of its own.
    """

    name: str
    median: float = 0.0
    marked: bool = False
    values: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that it becomes."""
        if self.values:
            return tuple(f"{self.name}={value}" for value in self.values)
        return (self.name, f"{self.name} is missing") if self.marked else (self.name,)

    def code(self, values: Array) -> tuple[Array, str]:
        """The column as numbers (n, k), and a remark where values are new.

        Raises:
            DataError: there is text where numbers are expected, infinity, or no column of values.
        """
        missing = is_missing(_flat(self.name, values))
        if self.values:
            return self._chosen(np.where(missing, MARK, values.astype(str)))
        numbers = np.where(missing, self.median, _numbers(self.name, values, missing))
        return np.stack([numbers, missing][: 1 + self.marked], 1), ""

    def _chosen(self, texts: Array) -> tuple[Array, str]:
        known = np.array(self.values)
        codes = np.searchsorted(known, texts).clip(max=len(known) - 1)
        chosen = np.eye(len(known), dtype=np.float32)[codes] * (known[codes] == texts)[:, None]
        new = np.unique(texts[~chosen.any(1)])
        remark = f"{self.name}: {str(new[0])!r} did not occur in training" if len(new) else ""
        return chosen, remark + (", nor others" if len(new) > 1 else "")


@dataclass(frozen=True, slots=True)
class Coding:
    """How a frame becomes a matrix of numbers: learnt from one, so that others become it equally.

    ``columns`` are the inputs in order, ``target`` is the column that was to be predicted.
    """

    columns: tuple[Column, ...]
    target: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of the matrix."""
        return tuple(name for column in self.columns for name in column.names)

    def code(self, frame: Any) -> tuple[Array, tuple[str, ...]]:
        """Inputs (n, columns) float32 of a frame with the same columns, and remarks.

        Raises:
            DataError: a column is missing, or holds something else than it did.
        """
        names = [str(name) for name in getattr(frame, "columns", frame)]
        lacking = [column.name for column in self.columns if column.name not in names]
        if lacking:
            raise DataError(
                f"the frame has no column {lacking[0]!r}{nearest(lacking[0], names)}; expected "
                f"{', '.join(column.name for column in self.columns)}"
            )
        found = [column.code(np.asarray(frame[column.name])) for column in self.columns]
        matrix = np.concatenate([numbers for numbers, _ in found], 1, dtype=np.float32)
        return matrix, tuple(remark for _, remark in found if remark)


def coded(frame: Any, target: str) -> tuple[Array, Array, Coding, tuple[str, ...]]:
    """Inputs (n, columns) float32, the target column as given, and how it was done, with remarks.

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
    learnt = [_learnt(name, np.asarray(frame[name])) for name in names if name != target]
    coding = Coding(tuple(column for column, _ in learnt), target)
    remarks = tuple(remark for _, remark in learnt if remark)
    return coding.code(frame)[0], _targets(target, y), coding, remarks


def _targets(name: str, y: Array) -> Array:
    missing = is_missing(y)
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


def _learnt(name: str, values: Array) -> tuple[Column, str]:
    """How one column becomes numbers, and a remark unless it stays as it is."""
    missing = is_missing(_flat(name, values))
    if missing.all():
        raise DataError(f"column {name!r} has no values; expected some: drop it")
    try:
        values[~missing].astype(np.float64)
    except (ValueError, TypeError):
        return _categories(name, values, missing)
    median = float(np.median(_numbers(name, values, missing)[~missing]))
    if not missing.any():
        return Column(name, median), ""
    remark = f"{name}: {missing.sum()} missing, filled with the median, {median:g}, and marked"
    return Column(name, median, marked=True), remark


def _flat(name: str, values: Array) -> Array:
    if values.ndim != 1 or values.dtype.kind in "mMc":
        raise DataError(
            f"column {name!r} holds {values.dtype} of shape {values.shape}; expected numbers or "
            "text: turn dates into numbers such as the hour or the day of the week"
        )
    return values


def is_missing(values: Array) -> Array:
    """Where a column has no value (n,)."""
    if values.dtype.kind in "biu":
        return np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.isin(values.astype(str), MISSING)


def _numbers(name: str, values: Array, missing: Array) -> Array:
    """The values as float64, NaN where they are missing."""
    numbers = np.full(len(values), np.nan)
    try:
        numbers[~missing] = values[~missing].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"column {name!r} holds text ({error}); the model was trained on numbers there"
        ) from error
    if np.isinf(numbers).any():
        rows = ", ".join(map(str, np.flatnonzero(np.isinf(numbers))[:5]))
        raise DataError(f"column {name!r} holds infinity (row {rows}): remove these rows")
    return numbers


def _categories(name: str, values: Array, missing: Array) -> tuple[Column, str]:
    texts = np.where(missing, MARK, values.astype(str))
    found = [str(text) for text in np.unique(texts)]
    if len(found) > MOST_VALUES:
        raise DataError(
            f"column {name!r} holds {len(found)} different texts in {len(texts)} rows, such as "
            f"{found[0]!r}; expected at most {MOST_VALUES}: drop it, or turn it into numbers"
        )
    remark = f"{name}: one column for each of {len(found)} values"
    if missing.any():
        remark += f", {missing.sum()} missing being one"
    return Column(name, values=tuple(found)), remark


def read_csv(lines: Iterator[str]) -> dict[str, Array]:
    """The columns of a comma-separated file with a header, as text."""
    import csv

    rows = csv.reader(lines)
    header = next(rows)
    return {
        name: np.array(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)
    }
