"""Lists, arrays and tensors become tensors; what cannot be trained on is told at once."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nomagic.datasets.samples import DataError, told

CHUNK = 4_096
"""Rows that are looked at once."""


def tensor(value: Any, what: str) -> Tensor:
    """A tensor of numbers (n, …): float64 becomes float32, whole numbers int64, bytes stay.

    Raises:
        DataError: text, mixed objects, rows of different length, no rows, NaN or infinity.
    """
    array = value if isinstance(value, Tensor) else numpy(value, what)
    if not isinstance(array, Tensor):
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{what} holds {array.dtype} values; expected numbers: turn text into tokens or "
                "give a frame with the name of its target column"
            )
        array = _from_numpy(array)
    _check_dense(array, what)
    check_rows(array, what)
    return array.detach().cpu().to(_kept(array.dtype))


def numpy(value: Any, what: str) -> np.ndarray[Any, Any]:
    """What was given as an array; columns of text as text.

    Raises:
        DataError: mixed objects, or rows of different length.
    """
    if isinstance(value, Tensor):
        _check_dense(value, what)
        return (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy()
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
        shapes = list(dict.fromkeys(tuple(one.shape) for one in value))
        if len(shapes) > 1:
            raise DataError(_ragged(what, shapes))
        return numpy(torch.stack(list(value)), what)
    try:
        array = np.asarray(value)
    except ValueError as error:
        shapes = list(dict.fromkeys(np.shape(one) for one in value))
        raise DataError(_ragged(what, shapes)) from error
    return _text(array, what) if array.dtype.kind == "O" else array


def _check_dense(x: Tensor, what: str) -> None:
    if x.layout != torch.strided or x.is_complex():
        raise DataError(f"{what} is {x.layout} {x.dtype}; expected a dense real tensor")


def _text(array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    kinds = Counter(type(one).__name__ for one in array.ravel().tolist())
    if array.ndim and set(kinds) == {"str"}:
        return array.astype(str)
    if array.ndim and set(kinds) <= {"int", "float", "bool"}:
        return array.astype(float)
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    raise DataError(
        f"{what} is an object array ({seen}); expected numbers, or text for the classes: fill in "
        "what is missing, or give a frame with the name of its target column"
    )


def _ragged(what: str, shapes: list[Any]) -> str:
    some = ", ".join(str(shape) for shape in shapes[:3])
    return (
        f"the items of {what} differ in shape ({some}{', …' if len(shapes) > 3 else ''}); expected "
        "one shape: pad or crop them"
    )


def _from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype.kind == "u" and array.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.byteorder == ">" or array.dtype == np.longdouble:
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


def _kept(dtype: torch.dtype) -> torch.dtype:
    if dtype in (torch.uint8, torch.bool, torch.float16, torch.bfloat16):
        return dtype
    return torch.float32 if dtype.is_floating_point else torch.int64


def check_rows(x: Tensor, what: str) -> None:
    """Raise `DataError` when there are no rows, or some hold NaN, infinity or too large numbers."""
    if x.ndim == 0:
        raise DataError(f"{what} is a single number; expected one row for each sample")
    if not x.numel():
        raise DataError(f"{what} is empty (shape {tuple(x.shape)}); expected at least two samples")
    if not x.is_floating_point():
        return
    bad = [~part.reshape(len(part), -1).float().isfinite().all(1) for part in x.split(CHUNK)]
    rows = torch.cat(bad).nonzero().flatten().tolist()
    if rows:
        some = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
        nans = int(x[rows].isnan().sum())
        kind = "NaN" if nans else "infinity, or numbers too large for float32,"
        raise DataError(
            f"{what} holds {kind} in {len(rows)} of {len(x)} rows (row {some}): remove these rows, "
            "or fill them in"
        )


def check_lengths(**parts: Any) -> None:
    """Raise `DataError` when these have different lengths."""
    lengths = {what: len(part) for what, part in parts.items()}
    if len(set(lengths.values())) > 1:
        seen = " and ".join(f"{count} in {what}" for what, count in lengths.items())
        raise DataError(f"the lengths differ: {seen}; expected one target for each sample")


def check_kind(value: Any, what: str) -> None:
    """Raise `DataError` unless the value has rows."""
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__"):
        raise DataError(f"{what} is {told(value)}; expected an array, a tensor or a list")
