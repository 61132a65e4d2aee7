"""Public sets through torchvision or Hugging Face datasets, where they are installed.

Both download a set once and keep it: torchvision in the folder that NOMAGIC_DATA or --data names,
or else in ~/.cache/nomagic; datasets in its own cache.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from nomagic.datasets import folder
from nomagic.datasets.samples import Data, DataError

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
"""Classes of torchvision.datasets; each has ``data``, ``targets`` and ``classes``."""
HUB = {
    "mnist": ("ylecun/mnist", "image"),
    "fashion-mnist": ("zalando-datasets/fashion_mnist", "image"),
    "cifar10": ("uoft-cs/cifar10", "img"),
    "adult": ("scikit-learn/adult-census-income", ""),
}
"""Sets on the Hugging Face hub, and the column of their images; "" is a table."""
TARGETS = ("label", "labels", "target", "y")
"""Columns that are taken for the targets."""


def load(name: str, root: Path | None) -> tuple[Data | None, list[str]]:
    """A set through the first library that has it, or None; and what was tried.

    Raises:
        DataError: a library that is installed could not read or download the set.
    """
    tried: list[str] = []
    ways: list[tuple[str, dict[str, Any], Callable[[Any, str, Path | None], Data]]] = [
        ("torchvision.datasets", TORCHVISION, _torchvision),
        ("datasets", HUB, _hub),
    ]
    for library, known, read in ways:
        if name not in known:
            continue
        try:
            module = importlib.import_module(library)
        except (ImportError, RuntimeError, OSError) as error:
            absent = isinstance(error, ModuleNotFoundError)
            why = "is not installed" if absent else f"does not import ({_short(error)})"
            tried.append(f"{library.split('.')[0]} {why}")
            continue
        try:
            return read(module, name, root), tried
        except Exception as error:
            raise DataError(
                f"{library.split('.')[0]} is installed, but {name} could not be had through it "
                f"({_short(error)}): check the network, or put the files into a folder and name it "
                "with NOMAGIC_DATA or --data"
            ) from error
    return None, tried


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _torchvision(module: Any, name: str, root: Path | None) -> Data:
    place = root or Path.home() / ".cache" / "nomagic"
    kind = getattr(module, TORCHVISION[name])
    parts = [kind(str(place), train=train, download=True) for train in (True, False)]
    images = [np.asarray(part.data) for part in parts]
    classes = [np.asarray(part.targets) for part in parts]
    return _images(name, images, classes, tuple(map(str, parts[0].classes)))


def _hub(module: Any, name: str, root: Path | None) -> Data:  # noqa: ARG001
    path, column = HUB[name]
    found = module.load_dataset(path)
    if not column:
        return folder.table(name, found["train"].to_pandas(), "income")
    parts = [found[split].with_format("numpy")[:] for split in ("train", "test")]
    images = [np.stack(list(part[column])) for part in parts]
    classes = [np.asarray(part["label"]) for part in parts]
    return _images(name, images, classes, tuple(found["train"].features["label"].names))


def _images(name: str, images: list[Any], classes: list[Any], labels: tuple[str, ...]) -> Data:
    """Grey images (n, height, width) or coloured ones, channels last, both parts in one."""
    pixels = np.concatenate(images)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    y = torch.from_numpy(np.concatenate(classes)).long()
    rows = folder.official(len(classes[0]), len(y))
    x = torch.from_numpy(np.ascontiguousarray(pixels))
    return Data(name, x, y, "classification", labels, test_rows=rows)


class Pairs(Dataset[Any]):
    """A map-style set of dicts, as Hugging Face datasets gives them, as one of (x, y).

    Pictures become uint8 tensors, channels first.

    Args:
        rows: the set; an item has two columns.
        x: the column of the inputs, and
        y: the one of the targets.
    """

    def __init__(self, rows: Any, x: str, y: str) -> None:
        self.rows, self.x, self.y = rows, x, y
        feature = (getattr(rows, "features", None) or {}).get(y)
        self.classes = tuple(getattr(feature, "names", None) or ())
        column = (
            rows[y] if hasattr(rows, "column_names") else [rows[i][y] for i in range(len(rows))]
        )
        self.targets = list(column)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        value = self.rows[row][self.x]
        if isinstance(value, (list, int, float)):
            value = torch.tensor(value)
        elif not isinstance(value, torch.Tensor):
            value = torch.from_numpy(np.array(value))
        pixels = value.dtype == torch.uint8 and value.ndim in (2, 3)
        if pixels and (value.ndim == 2 or value.shape[-1] in (1, 3, 4)):
            value = value[None] if value.ndim == 2 else value.permute(2, 0, 1)
        return value, self.targets[row]


def paired(given: Any) -> Any:
    """A set whose items are dicts of two columns as one of pairs; others, and text, come back as
    they are.

    Raises:
        DataError: the items have other columns than an input and a target.
    """
    first: Any = given[0]
    if not isinstance(first, dict) or any(isinstance(value, str) for value in first.values()):
        return given
    columns = [str(name) for name in first]
    target = next((name for name in TARGETS if name in columns), "")
    if len(columns) != 2 or not target:
        raise DataError(
            f"items of the {type(given).__name__} are dicts with {', '.join(columns)}; expected "
            f"two columns, of which one is called {', '.join(TARGETS[:-1])} or {TARGETS[-1]}: "
            "choose them with .select_columns and .rename_column, or give arrays (x, y)"
        )
    columns.remove(target)
    return Pairs(given, columns[0], target)
