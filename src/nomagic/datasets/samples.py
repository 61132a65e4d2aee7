"""Samples with their targets, in memory or read item by item, and the form a model must fit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate

from nomagic.words import Form, Task

if TYPE_CHECKING:
    from nomagic.datasets.tables import Coding

SCANNED = 10_000
"""Samples that are read at most to learn classes, vocabulary or what columns hold."""


class DataError(ValueError):
    """Data that cannot be used: says what came, what was expected and what to do."""


UNREADABLE = (OSError, EOFError, ValueError, BadZipFile, zlib.error)
"""What numpy and the standard library raise for files of data that are damaged or no such."""


def unreadable(error: Exception) -> str:
    """Why a file of arrays cannot be read, without numpy's advice to unpickle it."""
    pickled = "pickle" in str(error)
    return "it is damaged, or holds objects in place of numbers" if pickled else str(error)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples, their targets and what is to be predicted.

    ``x`` is (n, *shape), or a map-style torch ``Dataset`` of (x, y) with ``y`` None. Images may
    be uint8; `batch` gives them as float32 in [0, 1]. ``y`` by task: classes (n,) int64; yes or no
    (n,) float32; labels (n, labels) float32; numbers (n,) or (n, targets) float32; in a sequence,
    ``x`` is (n, length) int64 tokens and ``y`` (n, length) the next ones.

    ``labels`` are the names of classes or tokens. ``groups`` (n,) int64: equal ones are kept
    together by ``split="group"``. ``test_rows`` are (training rows, held-out rows) where the
    source comes with a split. ``remarks`` say what was done to what was given, ``coding`` how a
    frame became numbers. ``unit`` is the mean and the deviation by which a target came standardised
    that has a unit of its own.
    """

    name: str
    x: Tensor | Dataset[Any]
    y: Tensor | None
    task: Task
    labels: tuple[str, ...] = ()
    groups: Tensor | None = None
    test_rows: tuple[Tensor, Tensor] | None = None
    remarks: tuple[str, ...] = ()
    coding: Coding | None = None
    unit: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.x)  # pyright: ignore[reportArgumentType]  # as_data asked for a length

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of rows of any shape: (K, B) gives (K, B, *shape) and (K, B, …)."""
        if isinstance(self.x, Tensor):
            assert self.y is not None, "targets come with inputs in memory"
            x, y = self.x[rows], self.y[rows]
        else:
            x, y = collate(self.x, rows.flatten().tolist())
            x, y = (t.reshape(*rows.shape, *t.shape[1:]) for t in (x, y))
            y = y.float() if self.task in ("binary", "multi-label") else y
        return (x.float() / 255 if x.dtype == torch.uint8 else x), y

    def subset(self, rows: Tensor) -> Data:
        """Some of the samples, in the order of ``rows``; the form stays that of the whole.

        A split that the source came with is left behind.
        """
        held = isinstance(self.x, Tensor)
        assert held == (self.y is not None), "targets come with inputs in memory"
        part = replace(
            self,
            x=self.x[rows] if isinstance(self.x, Tensor) else Subset(self.x, rows.tolist()),
            y=None if self.y is None else self.y[rows],
            groups=None if self.groups is None else self.groups[rows],
            test_rows=None,
        )
        vars(part)["form"] = self.form
        return part

    @cached_property
    def form(self) -> Form:
        """What a model must fit."""
        x, y = self.batch(torch.arange(min(2, len(self))))
        tokens = 0 if x.is_floating_point() else self._tokens()
        outputs = {
            "classification": len(self.labels) or self._classes(),
            "sequence": tokens,
            "binary": 1,
        }
        found = outputs.get(self.task) or max(1, y[0].numel())
        return Form(self.task, tuple(x.shape[1:]), found, self.labels, tokens, self._flags())

    def _flags(self) -> tuple[int, ...]:
        """The columns of a table with two numbers or one, as far as the first samples tell."""
        x = self.x[:SCANNED] if isinstance(self.x, Tensor) else torch.zeros(0)
        if x.ndim != 2 or not x.is_floating_point():
            return ()
        two = ((x == x.amin(0)) | (x == x.amax(0))).all(0)
        return tuple(two.nonzero().flatten().tolist())

    def _classes(self) -> int:
        return int(self.y.max()) + 1 if self.y is not None and self.task == "classification" else 0

    def _tokens(self) -> int:
        sequence = self.task == "sequence"
        if sequence and self.labels:
            return len(self.labels)
        if isinstance(self.x, Tensor):
            pair = (self.x, self.y) if sequence and self.y is not None else (self.x,)
        else:
            pair = collate(self.x, range(_all(self.x)))[: 2 if sequence else 1]
        return max(int(tokens.max()) for tokens in pair) + 1


def _all(dataset: Any) -> int:
    if len(dataset) > SCANNED:
        raise DataError(
            f"the Dataset gives integers and has {len(dataset)} items; its vocabulary is read from "
            f"at most {SCANNED}: give the tokens' names, as_data(dataset, labels=…), or tensors"
        )
    return len(dataset)


def collate(dataset: Any, rows: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Items of a Dataset as one batch, put together as a DataLoader does.

    Raises:
        DataError: the items are no pairs of tensors or numbers, or differ in shape.
    """
    rows = list(rows)
    many = getattr(dataset, "__getitems__", None)
    items = many(rows) if many is not None else [dataset[row] for row in rows]
    first: Any = items[0]
    if not isinstance(first, (tuple, list)) or len(first) != 2:
        raise DataError(f"item {rows[0]} of the Dataset is {told(first)}; expected a pair (x, y)")
    try:
        x, y = default_collate(items)
    except (TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the items of the Dataset cannot be put together ({reason}); item {rows[0]} is "
            f"{told(first)}: make each one a tensor of one shape, images with ToTensor()"
        ) from error
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise DataError(
            f"item {rows[0]} of the Dataset is {told(first)}; expected a pair of tensors or numbers"
        )
    return (x.float() if x.dtype == torch.float64 else x), y


def told(value: Any) -> str:
    """What a value is, in a few words: ``a Tensor of shape (3, 4)``, ``a pair (Image, int)``."""
    if isinstance(value, (tuple, list)):
        inner: list[Any] = list(value)
        kinds = ", ".join(type(one).__name__ for one in inner[:4])
        return (
            f"a {type(value).__name__} of {len(inner)} ({kinds}{', …' if len(inner) > 4 else ''})"
        )
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, list(value)[:6]))}"
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return (
        f"{kind} of shape {tuple(shape)}" if isinstance(shape, tuple) else f"{kind} {value!r:.40}"
    )
