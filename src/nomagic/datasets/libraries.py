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
