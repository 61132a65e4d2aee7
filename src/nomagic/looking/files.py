"""Arrays, folders of images or wavs, and tables, read from files also where some are faulty."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nomagic.config import nearest
from nomagic.datasets.samples import UNREADABLE, unreadable
from nomagic.datasets.tables import is_missing
from nomagic.fitting.inputs import IMAGES, waveform
from nomagic.looking.subject import Broken, LookError, chosen
from nomagic.report.lines import count
from nomagic.words import Finding

Array = np.ndarray[Any, Any]

FILES = 4_000
"""Files of a folder that are read, at most."""
ROWS = 500_000
"""Rows of a table that are read, at most."""
SIDE = 64
"""Pixels that the longer side of images is scaled to where they differ in size or are larger."""
AS_THEY_ARE = 128
"""Pixels of the longer side of images that are not scaled."""
SECONDS = 10.0
"""Seconds of a sound that are read, at most."""
PARTS = {
    "train": "training", "training": "training", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""How folders and arrays of a split are called."""
TARGETS = ("target", "label", "labels", "class", "y", "outcome", "species")
"""Columns that are taken for the target of a table, before the last one."""
ARRAY = re.compile(
    rf"(?:(?P<before>{'|'.join(PARTS)})_)?(?P<what>x|y|images?|data|inputs?|labels?|targets?)"
    rf"(?:_(?P<after>{'|'.join(PARTS)}))?"
)
"""Names of arrays in a .npz: x, y, x_train, test_labels."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """Inputs and targets (None: there are none) by part, and what else the source tells."""

    name: str
    parts: Mapping[str, tuple[Any, Any]]
    labels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    rate: int = 0
    broken: tuple[Broken, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    total: int = 0


# -- arrays ---------------------------------------------------------------------------------------


def arrays(file: Path) -> Arrays:
    """The arrays of a ``.npy`` (inputs alone) or a ``.npz``.

    Raises:
        LookError: it is no such file, was saved with pickle, or its arrays have other names.
    """
    if file.suffix.lower() not in (".npy", ".npz"):
        raise LookError(
            f"the kind of {file} is not known; expected .py, .npy, .npz, .csv or a folder of "
            "images or wavs"
        )
    try:
        with file.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            held = {"x": found} if isinstance(found, np.ndarray) else dict(found)
    except UNREADABLE as error:
        raise LookError(
            f"{file} cannot be read ({unreadable(error)}); expected arrays of numbers, saved "
            "without pickle"
        ) from error
    if len(held) == 1:
        held = {"x": next(iter(held.values()))}
    return Arrays(file.stem, _pairs(held, file))


def _pairs(held: Mapping[str, Array], file: Path) -> dict[str, tuple[Any, Any]]:
    found: dict[str, dict[str, Array]] = {}
    for name, array in held.items():
        match = ARRAY.fullmatch(name.lower())
        if match:
            part = PARTS.get(match["before"] or match["after"] or "", "")
            side = "y" if match["what"][0] in "yl" or match["what"].startswith("target") else "x"
            found.setdefault(part, {})[side] = array
    if not found or any("x" not in pair for pair in found.values()):
        raise LookError(
            f"{file} holds {', '.join(held)}; expected arrays x and y, or x_train, y_train, x_test "
            "and y_test"
        )
    return {part: (pair["x"], pair.get("y")) for part, pair in found.items()}


# -- folders --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a folder, with its part and its class, both of which may be empty."""

    path: Path
    part: str = ""
    kind: str = ""


def folder(place: Path, samples: int | None, seed: int) -> Arrays:
    """A folder of images or wavs: a class is a subfolder, a split two floors of them.

    Raises:
        LookError: it holds neither, or both.
    """
    found = list(_walk(place))
    images = [one for one in found if one.path.suffix.lower() in IMAGES]
    sounds = [one for one in found if one.path.suffix.lower() == ".wav"]
    if bool(images) == bool(sounds):
        seen = "both images and wavs" if images else "no images and no wavs"
        raise LookError(f"the folder {place} holds {seen}; expected one of these, in subfolders")
    every = images or sounds
    rows = chosen(len(every), 1, min(len(every), samples or FILES), seed)
    read = _images if images else _sounds
    return read(place, [every[row] for row in rows.tolist()], len(every))


def _walk(place: Path) -> Iterator[_File]:
    """The files of a folder by class, or by part and class, in order."""
    inside = sorted(place.iterdir())
    folders = [one for one in inside if one.is_dir() and not one.name.startswith(".")]
    split = bool(folders) and all(one.name.lower() in PARTS for one in folders)
    yield from (_File(one) for one in inside if one.is_file() and not folders)
    for one in folders:
        if split:
            part = PARTS[one.name.lower()]
            yield from (_File(file.path, part, file.kind) for file in _walk_classes(one))
        else:
            yield from _files(one, one.name)


def _walk_classes(place: Path) -> Iterator[_File]:
    inside = sorted(place.iterdir())
    yield from (_File(one) for one in inside if one.is_file())
    for one in inside:
        if one.is_dir():
            yield from _files(one, one.name)


def _files(place: Path, kind: str) -> Iterator[_File]:
    yield from (_File(one, "", kind) for one in sorted(place.rglob("*")) if one.is_file())


def _opened(
    files: Sequence[_File], read: Callable[[Path], Any], place: Path
) -> tuple[list[_File], list[Any], tuple[Broken, ...]]:
    """What each file holds, and those that cannot be read."""
    good: list[_File] = []
    held: list[Any] = []
    failed: list[str] = []
    why = ""
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                held.append(read(file.path))
            good.append(file)
        except Exception as error:  # of many kinds, by format and fault
            failed.append(str(file.path.relative_to(place)))
            why = why or type(error).__name__
    if len(good) < 2:
        raise LookError(f"{len(good)} of {len(files)} files of {place} can be read ({why})")
    if not failed:
        return good, held, ()
    fix = "repair or delete them: a loader that skips them silently trains on something else"
    return good, held, (Broken(f"cannot be read ({why})", fix, len(failed), tuple(failed[:5])),)


def _assembled(place: Path, files: Sequence[_File], x: Array, **more: Any) -> Arrays:
    """Arrays with the classes and parts of their files."""
    kinds = sorted({file.kind for file in files} - {""})
    labelled = len(kinds) > 1 and all(file.kind for file in files)
    codes = np.array([kinds.index(file.kind) if labelled else 0 for file in files], np.int64)
    parts = list(dict.fromkeys(file.part for file in sorted(files, key=lambda f: _rank(f.part))))
    mine = {part: np.array([file.part == part for file in files]) for part in parts}
    order = [at for part in parts for at in np.flatnonzero(mine[part]).tolist()]
    return Arrays(
        place.name,
        {part: (x[rows], codes[rows] if labelled else None) for part, rows in mine.items()},
        labels=tuple(kinds) if labelled else (),
        names=tuple(str(files[at].path.relative_to(place)) for at in order),
        **more,
    )


def _rank(part: str) -> int:
    return list(PARTS.values()).index(part) if part else -1


def _images(place: Path, files: Sequence[_File], total: int) -> Arrays:
    from PIL import Image

    def read(file: Path) -> Any:
        with Image.open(file) as opened:
            opened.load()
            return opened.convert("L" if opened.mode in ("1", "L") else "RGB")

    good, held, broken = _opened(files, read, place)
    sizes = Counter(picture.size for picture in held)
    grey = all(picture.mode == "L" for picture in held)
    (wide, high), _ = sizes.most_common(1)[0]
    remarks: list[str] = []
    if len(sizes) > 1 or max(wide, high) > AS_THEY_ARE:
        shrink = SIDE / max(wide, high)
        wide, high = max(1, round(wide * shrink)), max(1, round(high * shrink))
        came = f"come in {len(sizes)} sizes" if len(sizes) > 1 else "are large"
        remarks.append(f"the images {came}; here they are scaled to {wide} x {high} pixels")
    x = np.stack([_pixels(picture, (wide, high), grey) for picture in held])
    return _assembled(
        place, good, x, broken=broken, remarks=tuple(remarks), total=total - len(files) + len(good)
    )


def _pixels(picture: Any, size: tuple[int, int], grey: bool) -> Array:
    """An image as (channels, height, width) in bytes."""
    picture = picture.convert("L" if grey else "RGB")
    pixels = np.asarray(picture if picture.size == size else picture.resize(size), np.uint8)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _sounds(place: Path, files: Sequence[_File], total: int) -> Arrays:
    good, held, broken = _opened(files, _sound, place)
    rates = Counter(rate for _, rate in held)
    rate = rates.most_common(1)[0][0]
    lengths = np.array([len(sound) for sound, _ in held])
    length = int(min(lengths.max(), SECONDS * rate))
    x = np.zeros((len(held), 1, length), np.float32)
    for row, (sound, _) in enumerate(held):
        x[row, 0, : len(sound)] = sound[:length]
    told = (
        f"the sounds last {lengths.min() / rate:.2g} to {lengths.max() / rate:.2g} s; here all are "
        f"{length / rate:.2g} s, shorter ones end in silence"
    )
    remarks = (told,) if lengths.min() != lengths.max() else ()
    return _assembled(
        place, good, x, broken=broken, findings=_rates(rates), rate=rate, remarks=remarks,
        total=total - len(files) + len(good),
    )  # fmt: skip


def _sound(file: Path) -> tuple[Array, int]:
    with wave.open(str(file), "rb") as opened:
        rate = opened.getframerate()
    sound = waveform(file)
    if not len(sound):
        raise ValueError("it has no samples")
    return sound, rate


def _rates(rates: Counter[int]) -> tuple[Finding, ...]:
    if len(rates) == 1:
        return ()
    told = ", ".join(f"{rate:,} Hz in {count:,}" for rate, count in rates.most_common(5))
    return (
        Finding(
            message="the sounds have different sample rates",
            seen=f"{told} files; in a network the same pitch is another one at another rate",
            fix="resample all to one rate before training",
            severity="warning",
        ),
    )


# -- tables ---------------------------------------------------------------------------------------


def table(file: Path, target: str | None) -> tuple[dict[str, Array], str, tuple[str, ...]]:
    """The columns of a table with a header, its target, and remarks on how it was read.

    Raises:
        LookError: it is no table, or has no such column.
    """
    try:
        opener: Any = gzip.open if file.suffix == ".gz" else open
        with opener(file, "rt", encoding="utf-8-sig", newline="") as opened:
            columns, more = _columns(opened)
    except (*UNREADABLE, csv.Error) as error:
        raise LookError(
            f"{file} is no table ({error}); expected text in UTF-8: a header of two columns or "
            "more, and rows of as many cells"
        ) from error
    remarks = [f"only the first {ROWS:,} rows are read"] if more else []
    if target is not None and target not in columns:
        raise LookError(
            f"{file} has no column {target!r}{nearest(target, columns)}; it has "
            f"{', '.join(columns)}"
        )
    if target is None:
        target = _guessed(columns)
        remarks.append(f"the column {target!r} is taken for the target; name another with --target")
    return {name: numbers(values) for name, values in columns.items()}, target, tuple(remarks)


def _columns(lines: Any) -> tuple[dict[str, Array], bool]:
    first = lines.readline()
    mark = max(",;\t|", key=first.count)
    header = next(csv.reader([first], delimiter=mark), [])
    if len(header) < 2:
        raise ValueError(f"its first line has {count(len(header), 'column')}")
    if len(set(header)) < len(header):
        twice = next(name for name, count in Counter(header).items() if count > 1)
        raise ValueError(f"two columns are called {twice!r}")
    reader = csv.reader(lines, delimiter=mark)
    rows: list[list[str]] = []
    for row in islice(reader, ROWS):
        if row and len(row) != len(header):
            raise ValueError(f"row {len(rows)} has {len(row)} cells, the header {len(header)}")
        if row:
            rows.append(row)
    if len(rows) < 2:
        raise ValueError(f"it has {count(len(rows), 'row')}")
    whole = zip(header, zip(*rows, strict=True), strict=True)
    return {name: np.array(column) for name, column in whole}, next(reader, None) is not None


def numbers(values: Array) -> Array:
    """A column of text as whole numbers, as floats with NaN for what is missing, or as it is."""
    values = np.char.strip(values) if values.dtype.kind == "U" else values
    lacking = is_missing(values)
    try:
        found = np.where(lacking, "nan", values).astype(np.float64)
    except (ValueError, TypeError):
        return values
    whole = (
        not lacking.any()
        and bool(np.isfinite(found).all())
        and bool((found == found.round()).all())
    )
    written = whole and not any("." in text for text in values[:100].tolist())
    return found.astype(np.int64) if written else found


def _guessed(columns: Mapping[str, Array]) -> str:
    """A column called like a target, or the last one that does not name each row differently."""
    known = {name.lower(): name for name in columns}
    named = (known[name] for name in TARGETS if name in known)
    last = (
        name
        for name, values in reversed(list(columns.items()))
        if len(np.unique(values)) <= len(values) // 2 or numbers(values).dtype.kind == "f"
    )
    return next(named, None) or next(last, list(columns)[-1])
