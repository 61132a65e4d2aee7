"""Public sets in plain files, read from the folder that NOMAGIC_DATA or --data names."""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nomagic.datasets import tables, targets
from nomagic.datasets.samples import UNREADABLE, Data, DataError

CLOTHES = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
OBJECTS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
NUMBERS = tuple("0123456789")

SPOKEN = 4_096
"""Samples of a spoken digit, half a second at 8 kHz; three in four are shorter."""
WINDOW = 64
"""Characters of a piece of Shakespeare."""
LETTERS = 32
"""Characters of a piece of the list of names."""
PAST, AHEAD = 96, 24
"""Hours that a forecast sees, and hours that it says."""
MONTH = 30 * 24


def mnist(folder: Path) -> Data:
    """Handwritten digits: 70,000 images of 1 x 28 x 28; the last 10,000 are the test."""
    return _images(folder, "mnist", NUMBERS)


def fashion_mnist(folder: Path) -> Data:
    """Clothes: 70,000 images of 1 x 28 x 28; the last 10,000 are the test."""
    return _images(folder, "fashion-mnist", CLOTHES)


def cifar10(folder: Path) -> Data:
    """Photos: 30,000 images of 3 x 32 x 32, two fifths of the training set and the test."""
    parts = [_photos(folder / name) for name in FILES["cifar10"]]
    x, y = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    remark = "20,000 of the 50,000 official training images, and all 10,000 test images"
    rows = official(20_000, len(y))
    return Data("cifar10", x, y, "classification", OBJECTS, test_rows=rows, remarks=(remark,))


def fsdd(folder: Path) -> Data:
    """Spoken digits: 3,000 waveforms of 1 x 4,096 at 8 kHz by six speakers, who are the groups.

    Each has a peak of 1; longer ones are cut, shorter ones end in silence. The test are takes 0
    to 4.
    """
    kept = _arrays(folder / "fsdd.npz")
    x = np.zeros((len(kept["digit"]), 1, SPOKEN), np.float32)
    for row, (start, end) in enumerate(itertools.pairwise(kept["offsets"].tolist())):
        wave = kept["samples"][start : min(end, start + SPOKEN)]
        x[row, 0, : len(wave)] = wave / max(1.0, float(np.abs(wave.astype(np.float32)).max()))
    held = torch.from_numpy(kept["take"] < 5)
    return Data(
        "fsdd",
        torch.from_numpy(x),
        torch.from_numpy(kept["digit"]).long(),
        "classification",
        NUMBERS,
        groups=torch.from_numpy(kept["speaker"]).long(),
        test_rows=((~held).nonzero().flatten(), held.nonzero().flatten()),
    )


def adult(folder: Path) -> Data:
    """Income above 50,000 or not, of 48,842 people; the last 16,281 are the test."""
    parts = [_csv(folder / name) for name in FILES["adult"]]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = official(len(parts[0]["income"]), len(columns["income"]))
    return table("adult", columns, "income", rows)


def table(name: str, frame: Any, target: str, rows: tuple[Tensor, Tensor] | None = None) -> Data:
    """Classes from a frame and the name of its target column."""
    x, y, coding, remarks = tables.coded(frame, target)
    inputs = torch.from_numpy(x)
    found, task, labels = targets.read(inputs, y, None, ())
    return Data(name, inputs, found, task, labels, test_rows=rows, remarks=remarks, coding=coding)


def california_housing(folder: Path) -> Data:
    """The median value of houses in 20,640 districts, in 100,000 dollars; capped at 5."""
    columns = _csv(folder / "california_housing.csv.gz")
    x, y, coding, remarks = tables.coded(columns, "median_house_value")
    target = torch.from_numpy(y.astype(np.float32)) / 100_000
    inputs = torch.from_numpy(x)
    return Data("california-housing", inputs, target, "regression", remarks=remarks, coding=coding)


def tinyshakespeare(folder: Path) -> Data:
    """Shakespeare in pieces of 64 characters, 65 different ones; the last tenth is the test."""
    text = (folder / "tinyshakespeare.txt").read_text(encoding="utf-8")
    found = _characters("tinyshakespeare", text, WINDOW)
    return found(official(len(text) * 9 // 10 // WINDOW, (len(text) - 1) // WINDOW))


def names(folder: Path) -> Data:
    """First names in one stream, shuffled once, in pieces of 32 characters; 27 different ones."""
    lines = sorted(set((folder / "names.txt").read_text(encoding="utf-8").split()))
    random.Random(0).shuffle(lines)
    return _characters("names", "\n".join(lines) + "\n", LETTERS)(None)


def etth1(folder: Path) -> Data:
    """Oil temperature of a transformer: 96 hours of 7 columns (7, 96) to 24 hours of the last.

    Columns are standardised with the first 12 months. The training rows are those of the first 16
    months of 30 days, the test those whose targets lie in the 4 after.
    """
    text = (folder / "ETTh1.csv").read_text(encoding="utf-8").splitlines()[1:]
    series = torch.tensor([[float(cell) for cell in line.split(",")[1:]] for line in text])
    first = series[: 12 * MONTH]
    series = ((series - first.mean(0)) / first.std(0))[: 20 * MONTH]
    x = series[:-AHEAD].unfold(0, PAST, 1)
    y = series[PAST:, -1].unfold(0, AHEAD, 1)
    rows = torch.arange(len(x))
    cut = 16 * MONTH
    split = (rows[rows + PAST + AHEAD <= cut], rows[rows + PAST >= cut])
    return Data("etth1", x, y, "regression", test_rows=split)


def official(train: int, count: int) -> tuple[Tensor, Tensor]:
    """The split of sets whose test follows after the training part."""
    rows = torch.arange(count)
    return rows[:train], rows[train:]


def _images(folder: Path, name: str, labels: tuple[str, ...]) -> Data:
    kept = _arrays(folder / FILES[name][0])
    x = np.concatenate([kept["x_train"], kept["x_test"]])[:, None]
    y = np.concatenate([kept["y_train"], kept["y_test"]])
    rows = official(len(kept["y_train"]), len(y))
    classes = torch.from_numpy(y).long()
    return Data(name, torch.from_numpy(x), classes, "classification", labels, test_rows=rows)


def _photos(file: Path) -> tuple[Tensor, Tensor]:
    """Photos that are stored as differences along both sides, red and blue less green."""
    kept = _arrays(file)
    x = kept["d"].cumsum(2, dtype=np.uint8).cumsum(3, dtype=np.uint8)
    y = kept["y"].astype(np.int64)
    x[0] += x[1]
    x[2] += x[1]
    return torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2, 3))), torch.from_numpy(y)


def _arrays(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    with file.open("rb") as opened:
        return dict(np.load(opened, allow_pickle=False))


def _csv(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return tables.read_csv(iter(lines))


def _characters(
    name: str, text: str, length: int
) -> Callable[[tuple[Tensor, Tensor] | None], Data]:
    """Pieces of a text that follow one another, each with the next character of every place."""
    symbols = sorted(set(text))
    code = {symbol: number for number, symbol in enumerate(symbols)}
    tokens = torch.tensor([code[symbol] for symbol in text])
    count = (len(tokens) - 1) // length
    x = tokens[: count * length].reshape(count, length)
    y = tokens[1 : count * length + 1].reshape(count, length)
    return lambda rows: Data(name, x, y, "sequence", tuple(symbols), test_rows=rows)


FILES = {
    "mnist": ("mnist.npz",),
    "fashion-mnist": ("fashion_mnist.npz",),
    "cifar10": ("cifar10_train_1.npz", "cifar10_train_2.npz", "cifar10_test.npz"),
    "fsdd": ("fsdd.npz",),
    "adult": ("adult_train.csv.gz", "adult_test.csv.gz"),
    "california-housing": ("california_housing.csv.gz",),
    "tinyshakespeare": ("tinyshakespeare.txt",),
    "names": ("names.txt",),
    "etth1": ("ETTh1.csv",),
}
"""The files of each set."""

LOADERS: dict[str, Callable[[Path], Data]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "fsdd": fsdd,
    "adult": adult,
    "california-housing": california_housing,
    "tinyshakespeare": tinyshakespeare,
    "names": names,
    "etth1": etth1,
}


def missing(name: str, folder: Path) -> list[str]:
    """The files of a set that the folder lacks."""
    return [file for file in FILES[name] if not (folder / file).is_file()]


def load(name: str, folder: Path) -> Data:
    """A set from its files.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        return LOADERS[name](folder)
    except (*UNREADABLE, KeyError, StopIteration) as error:
        raise DataError(
            f"the files of {name} in {folder} cannot be read ({type(error).__name__}: {error}); "
            f"expected {', '.join(FILES[name])}: copy them again"
        ) from error
