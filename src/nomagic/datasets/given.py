"""Whatever a user gives as data becomes `Data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from nomagic.datasets import arrays, builtin, libraries, splits, tables, targets
from nomagic.datasets.samples import SCANNED, Data, DataError, collate, told
from nomagic.words import Task

EXPECTED = (
    "expected a built-in name, a pair (x, y), a torch Dataset of (x, y), or a pair "
    "(frame, 'target column')"
)


def as_data(
    given: Any,
    *,
    task: Task | None = None,
    labels: Sequence[str] = (),
    groups: Any = None,
    folder: str | Path | None = None,
    name: str = "",
) -> Data:
    """Data from a built-in name, arrays, tensors, lists, a torch Dataset or a frame.

    Args:
        given: a built-in name; ``(x, y)`` of arrays, tensors or lists with one row for each sample;
            a map-style torch ``Dataset`` of (x, y), which is read item by item; ``(frame, column)``
            with a pandas frame or a dict of columns; or `Data`, which is returned.
        task: what is to be predicted, where it should not be told from the targets.
        labels: the names of the classes, or of the tokens of a sequence.
        groups: one id for each sample; equal ones are kept together by ``split="group"``.
        folder: where the files of built-in sets are, instead of the NOMAGIC_DATA folder.
        name: what reports call it.

    In ``x``, uint8 of three and more dimensions are images: they come as (channels, height, width)
    and in [0, 1]. Whole numbers of two dimensions, none negative, are tokens; give a table of
    whole numbers as floats. A single column (n,) becomes (n, 1).

    Raises:
        DataError: what came cannot be used; says what was expected and what to do.
    """
    if isinstance(given, (str, Data)):
        if task is not None or len(labels) or groups is not None:
            raise DataError(f"task, labels and groups go with arrays, not with {told(given)}")
        return given if isinstance(given, Data) else builtin.data(given, folder)
    ids = None if groups is None else _ids(groups)
    if isinstance(given, TensorDataset):
        given = given.tensors
    if isinstance(given, (tuple, list)) and len(given) == 2:
        found = _from_pair(given[0], given[1], task, labels, ids, name)
    else:
        found = _from_dataset(given, task, tuple(labels), ids, name)
    if len(found) < 2:
        raise DataError("the data has one sample; expected at least two, to train and to hold out")
    if ids is not None:
        arrays.check_lengths(data=found, groups=ids)
    return found


def _ids(groups: Any) -> Tensor:
    return torch.from_numpy(np.unique(arrays.numpy(groups, "groups"), return_inverse=True)[1])


def _from_pair(
    x: Any, y: Any, task: Task | None, labels: Sequence[str], groups: Tensor | None, name: str
) -> Data:
    if isinstance(y, str):
        return _from_frame(x, y, task, labels, groups, name)
    for what, value in (("x", x), ("y", y)):
        arrays.check_kind(value, what)
    arrays.check_lengths(x=x, y=y)
    _check_order(arrays.numpy(x, "x"), arrays.numpy(y, "y"))
    inputs = _inputs(arrays.tensor(x, "x"))
    target, found, names = targets.read(inputs, y, task, labels)
    return Data(name or "arrays", inputs, target, found, names, groups)


def _from_frame(
    frame: Any,
    column: str,
    task: Task | None,
    labels: Sequence[str],
    groups: Tensor | None,
    name: str,
) -> Data:
    if not isinstance(frame, dict) and not hasattr(frame, "columns"):
        raise DataError(f"the data is {told(frame)} and the name {column!r}; {EXPECTED}")
    x, y, coding, remarks = tables.coded(frame, column)
    inputs = arrays.tensor(x, "the frame")
    target, found, names = targets.read(inputs, y, task, labels)
    return Data(
        name or column, inputs, target, found, names, groups, remarks=remarks, coding=coding
    )


def _check_order(x: Any, y: Any) -> None:
    """Raise `DataError` when x looks like the targets and y like the inputs."""
    few = x.ndim == 1 and (x.dtype.kind in "USiub")
    wide = y.ndim > 2 or (y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind == "f")
    if few and wide:
        raise DataError(
            f"x has shape {x.shape} of {x.dtype} and y {y.shape} of {y.dtype}; they look swapped: "
            "give (inputs, targets)"
        )


def _inputs(x: Tensor) -> Tensor:
    """Inputs as `Data` keeps them: images channels first, tokens int64, all else floats."""
    if x.ndim == 1:
        x = x.unsqueeze(1)
    if x.dtype == torch.uint8 and x.ndim > 2:
        return _images(x)
    if x.dtype == torch.int64 and x.ndim == 2 and int(x.min()) >= 0 and x.shape[1] > 1:
        return x
    return x if x.is_floating_point() else x.float()


def _images(x: Tensor) -> Tensor:
    if x.ndim == 3:
        return x.unsqueeze(1)
    last = x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4)
    return x.permute(0, 3, 1, 2).contiguous() if last else x


def _from_dataset(
    given: Any, task: Task | None, labels: tuple[str, ...], groups: Tensor | None, name: str
) -> Data:
    if isinstance(given, DataLoader):
        raise DataError("the data is a DataLoader; expected its dataset: give loader.dataset")
    if isinstance(given, IterableDataset):
        raise DataError(
            f"{type(given).__name__} is an IterableDataset; expected a map-style Dataset with "
            "__len__ and __getitem__, so that a part can be held out"
        )
    plain = isinstance(given, (tuple, list, dict, Tensor, np.ndarray))
    if plain or not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        raise DataError(f"the data is {told(given)}; {EXPECTED}")
    if not len(given):
        raise DataError(f"the {type(given).__name__} is empty; expected at least two samples")
    given, name = libraries.paired(given), name or type(given).__name__
    x, y = collate(given, range(min(len(given), 8)))
    arrays.check_rows(x, "x of the first items")
    arrays.check_rows(y, "y of the first items")
    task = task or _task_of_items(given, x, y)
    if task == "classification":
        labels = labels or _labels(given)
    return Data(name, given, None, task, labels, groups)


def _task_of_items(given: Any, x: Tensor, y: Tensor) -> Task:
    if not y.is_floating_point() and y.ndim == 1:
        return "classification"
    if y.is_floating_point() and y.ndim == 1:
        y = collate(given, range(min(len(given), 256)))[1]
    return targets.infer(x, y)


def _labels(given: Any) -> tuple[str, ...]:
    """The names of the classes: from ``classes``, ``targets``, or by reading every item."""
    inner = given
    while hasattr(inner, "dataset") and hasattr(inner, "indices"):
        inner = inner.dataset
    classes = getattr(inner, "classes", None)
    if isinstance(classes, (list, tuple)) and classes:
        return tuple(map(str, classes))
    y = splits.known_targets(given)
    if y is None:
        if len(given) > SCANNED:
            raise DataError(
                f"the Dataset has {len(given)} items and neither .classes nor .targets; at most "
                f"{SCANNED} are read to learn the classes: name them, as_data(dataset, labels=…)"
            )
        y = torch.cat([collate(given, [row])[1].flatten() for row in range(len(given))]).long()
    counts = torch.bincount(y) if int(y.min()) >= 0 else torch.zeros(1)
    if int(y.min()) < 0 or not bool((counts > 0).all()):
        seen = ", ".join(map(str, y.unique().tolist()[:6]))
        raise DataError(f"the Dataset gives the classes {seen}…; expected 0, 1, 2, … without gaps")
    targets.check_singles([str(code) for code in range(len(counts))], counts.tolist())
    return tuple(str(code) for code in range(len(counts)))
