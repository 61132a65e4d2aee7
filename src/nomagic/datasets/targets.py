"""What is to be predicted, told from the targets: one rule for each task.

Text and few whole numbers are classes, numbers with a fraction a regression, floats of only 0 and
1 yes or no; several columns of 0 and 1 are labels, or classes where each row has a single 1.
Tokens whose targets are the tokens shifted by one are a sequence. The caller may name the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from nomagic.config import nearest
from nomagic.datasets import arrays
from nomagic.datasets.samples import DataError
from nomagic.words import Task

MOST_CLASSES = 1_000
"""More different whole numbers are not taken for classes unless the caller says so."""
TASKS: tuple[Task, ...] = get_args(Task)


def read(
    x: Tensor, y: Any, task: Task | None, labels: Sequence[str]
) -> tuple[Tensor, Task, tuple[str, ...]]:
    """Targets as `Data` keeps them, their task, and the names of their classes.

    Raises:
        DataError: they do not fit the task, or the task cannot be told.
    """
    if task is not None and task not in TASKS:
        raise DataError(
            f"the task {task!r} is not known{nearest(task, TASKS)}; it is one of {', '.join(TASKS)}"
        )
    found = arrays.numpy(y, "y")
    if found.dtype.kind in "US":
        return _classes(found, task, labels)
    targets = arrays.tensor(y, "y")
    task = task or infer(x, targets)
    if task in ("classification", "sequence") and targets.is_floating_point():
        targets = _whole(targets, task)
    if task == "classification":
        if targets.ndim == 2 and targets.shape[1] > 1:
            targets = targets.argmax(1)
        return _classes(targets.cpu().numpy(), task, labels)
    if task == "sequence":
        return _tokens(x, targets), task, tuple(labels)
    if task in ("binary", "multi-label"):
        return _zeros_and_ones(targets, task), task, tuple(labels)
    return targets.float(), task, tuple(labels)


def infer(x: Tensor, y: Tensor) -> Task:
    """The task of numeric targets."""
    if _shifted(x, y):
        return "sequence"
    zero_one = bool(((y == 0) | (y == 1)).all())
    if y.ndim == 2 and y.shape[1] > 1 and zero_one:
        return "classification" if bool((y.sum(1) == 1).all()) else "multi-label"
    if y.is_floating_point():
        return "binary" if zero_one else "regression"
    if y.ndim > 1 and y.shape[1] > 1:
        raise DataError(
            f"y holds whole numbers of shape {tuple(y.shape)}; expected (n,) classes, (n, labels) "
            "of 0 and 1, or the tokens of x shifted by one: name the task, as_data(…, task=…)"
        )
    count = len(y.unique())
    if count > min(MOST_CLASSES, max(2, len(y) // 2)):
        raise DataError(
            f"y holds {count} different whole numbers in {len(y)} samples; it is not clear whether "
            "they are classes or amounts: say task='classification' or task='regression'"
        )
    return "classification"


def _shifted(x: Tensor, y: Tensor) -> bool:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return whole and x.ndim == 2 and x.shape == y.shape and torch.equal(x[:, 1:], y[:, :-1])


def _whole(y: Tensor, task: Task) -> Tensor:
    if not torch.equal(y, y.round()):
        raise DataError(f"y holds numbers with fractions; {task} expects whole numbers")
    return y.long()


def _tokens(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point() or x.shape != y.shape:
        raise DataError(
            f"a sequence expects tokens in x and the next ones in y, both whole numbers of shape "
            f"(n, length); x is {x.dtype} {tuple(x.shape)}, y {tuple(y.shape)}"
        )
    if int(y.min()) < 0:
        raise DataError("y holds negative tokens; expected 0 and above")
    return y.long()


def _zeros_and_ones(y: Tensor, task: Task) -> Tensor:
    values = y.unique()
    if not bool(((values == 0) | (values == 1)).all()):
        some = ", ".join(f"{value:g}" for value in values[:5].tolist())
        raise DataError(f"y holds {some}…; {task} expects 0 and 1")
    if len(values) < 2:
        raise DataError(f"y is {values.item():g} for all samples; nothing can be learnt from it")
    if task == "multi-label" and y.ndim != 2:
        raise DataError(f"y has shape {tuple(y.shape)}; multi-label expects (n, labels)")
    return y.float()


def _classes(
    y: np.ndarray[Any, Any], task: Task | None, labels: Sequence[str]
) -> tuple[Tensor, Task, tuple[str, ...]]:
    """Classes as 0, 1, 2, … with their names; those that are so already stay."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not len(y):
        raise DataError(f"y has shape {y.shape}; expected one class for each sample, shape (n,)")
    values, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise DataError(f"y is {values[0]} for all {len(y)} samples; expected two classes or more")
    if task == "binary" and len(values) == 2:
        return torch.from_numpy(codes).float(), "binary", tuple(map(str, values))
    if task not in (None, "classification"):
        raise DataError(f"y holds {len(values)} names such as {values[0]}; {task} expects numbers")
    check_singles([str(value) for value in values], counts.tolist())
    codes, names = _named(y, values, codes, tuple(labels))
    return torch.from_numpy(codes.astype(np.int64)), "classification", names


def _named(
    y: np.ndarray[Any, Any], values: Any, codes: Any, labels: tuple[str, ...]
) -> tuple[Any, tuple[str, ...]]:
    """Codes and names; labels may name more classes than occur, where y holds their numbers."""
    whole = y.dtype.kind in "iu" and values[0] >= 0
    if labels and whole and values[-1] < len(labels):
        return y, labels
    if labels and len(labels) != len(values):
        raise DataError(f"{len(labels)} labels were given for {len(values)} classes")
    if not labels and not (whole and values[-1] == len(values) - 1):
        labels = tuple(map(str, values))
    return codes, labels


def check_singles(names: Sequence[str], counts: Sequence[int]) -> None:
    """Raise `DataError` when a class has one sample: it cannot be learnt and held out as well."""
    alone = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if alone:
        some = ", ".join(alone[:5]) + (", …" if len(alone) > 5 else "")
        raise DataError(
            f"{len(alone)} of {len(names)} classes have a single sample ({some}); each needs at "
            "least two, one to learn from and one to be held out: merge or drop them, or name the "
            "task if y holds amounts, task='regression'"
        )
