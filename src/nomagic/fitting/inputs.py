"""Inputs for a trained model from files, and its predictions written down."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import torch

from nomagic.datasets import builtin, data
from nomagic.datasets.samples import UNREADABLE, DataError, unreadable
from nomagic.datasets.tables import read_csv
from nomagic.fitting.fitted import Array, Fitted, Prediction, Span
from nomagic.words import Form

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}
"""How Pillow calls images by their number of channels."""
EXPECTED = "expected .npy, .npz, .csv, an image, .wav, .txt, a folder of such, or a built-in name"

Format = Literal["csv", "json"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Raw inputs as `Fitted.predict` takes them, the samples' names, and remarks."""

    x: Any
    names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


# -- read -----------------------------------------------------------------------------------------


def read(source: str | Path, fitted: Fitted) -> Inputs:
    """What a file, a folder or a built-in name holds, in the form that a model takes.

    ``.npy`` and ``.npz`` (the array "x", or the only one) hold arrays, ``.csv`` a table with a
    header (also ``.csv.gz``), ``.txt`` a text for a model of characters. Images must have the size
    of the training ones. Waveforms must be at the model's rate; they are cut, or filled with
    silence. A folder holds images or waveforms, in the order of their names.

    Raises:
        DataError: there is no such file, or it does not fit the model.
    """
    file = Path(source).expanduser()
    if not file.exists():
        return _builtin(str(source))
    files = [file]
    if file.is_dir():
        files = sorted(one for one in file.iterdir() if one.suffix.lower() in (*IMAGES, ".wav"))
        if not files:
            raise DataError(f"the folder {file} has no images and no .wav; {EXPECTED}")
    kinds = {_kind(one) for one in files}
    if len(kinds) > 1:
        raise DataError(f"the folder {file} has images and waveforms; expected one of these")
    try:
        return READERS[kinds.pop()](files, fitted)
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{file} cannot be read ({type(error).__name__}: {error})") from error


def _kind(file: Path) -> str:
    name = file.name.lower().removesuffix(".gz")
    kind = "image" if name.endswith(IMAGES) else name.rpartition(".")[2]
    if kind not in READERS:
        raise DataError(f"the kind of {file} is not known; {EXPECTED}")
    return kind


def _builtin(name: str) -> Inputs:
    if name not in builtin.NAMES:
        raise DataError(f"there is no file {name}; {EXPECTED}")
    return Inputs(data(name))


def _arrays(files: Sequence[Path], _: Fitted) -> Inputs:
    (file,) = files
    try:
        with file.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return Inputs(found)
            names = list(found.files)
            if "x" in names or len(names) == 1:
                return Inputs(found["x" if "x" in names else names[0]])
    except UNREADABLE as error:
        raise DataError(
            f"{file} cannot be read ({unreadable(error)}); expected an array of numbers, saved "
            "without pickle"
        ) from error
    raise DataError(f"{file} holds {', '.join(names)}; expected an array called x")


def _table(files: Sequence[Path], fitted: Fitted) -> Inputs:
    (file,) = files
    with ExitStack() as stack:
        opened = (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8-sig")
        try:
            columns = read_csv(iter(stack.enter_context(opened)))
        except (ValueError, StopIteration, csv.Error) as error:
            raise DataError(
                f"{file} is no table ({error}); expected a header and rows of its length"
            ) from error
    return Inputs(columns if fitted.coding else _matrix(file, columns, fitted.form))


def _matrix(file: Path, columns: dict[str, Array], form: Form) -> Array:
    """The columns of a table in order, as numbers of the form's shape."""
    names = list(columns)
    if len(names) != form.features or len(columns) != len(set(names)):
        raise DataError(
            f"{file} has {len(names)} columns with different names; the model takes "
            f"{form.features} numbers for each sample"
        )
    try:
        numbers = np.stack([columns[name].astype(np.float32) for name in names], 1)
    except ValueError as error:
        raise DataError(f"{file} holds text ({error}); expected numbers") from error
    return numbers.reshape(-1, *form.shape)


def _images(files: Sequence[Path], fitted: Fitted) -> Inputs:
    from PIL import Image

    shape = fitted.form.shape if len(fitted.form.shape) == 3 else (1, *fitted.form.shape)
    if len(shape) != 3 or fitted.form.tokens or shape[0] not in COLOURS:
        raise DataError(f"the model takes inputs of shape {fitted.form.shape}; these are images")
    pictures: list[Array] = []
    for file in files:
        with Image.open(file) as opened:
            if opened.size != (shape[2], shape[1]):
                wide, high = opened.size
                raise DataError(
                    f"{file} has {wide} x {high} pixels; the model was trained on {shape[2]} x "
                    f"{shape[1]}: scale it as the training images were"
                )
            picture = np.asarray(opened.convert(COLOURS[shape[0]]), np.uint8)
        pictures.append(picture.reshape(*shape[1:], shape[0]).transpose(2, 0, 1))
    x = torch.from_numpy(np.stack(pictures)).float() / 255
    return Inputs(x.reshape(-1, *fitted.form.shape), _names(files))


def _waves(files: Sequence[Path], fitted: Fitted) -> Inputs:
    form = fitted.form
    if len(form.shape) != 2 or form.shape[0] != 1 or form.tokens:
        raise DataError(f"the model takes inputs of shape {form.shape}; these are waveforms")
    length = form.shape[1]
    x = np.zeros((len(files), 1, length), np.float32)
    remarks: list[str] = []
    for row, file in enumerate(files):
        sound = waveform(file)
        if len(sound) != length:
            done = "cut" if len(sound) > length else "filled with silence"
            remarks.append(f"{file.name} has {len(sound)} samples, {done} to {length}")
        x[row, 0, : min(length, len(sound))] = sound[:length]
    if _full(fitted.span):
        x /= np.maximum(np.abs(x).max(2, keepdims=True), 1e-9)
        remarks.append("each waveform is scaled to a peak of 1, as those of training were")
    return Inputs(x, _names(files), tuple(remarks))


def _full(span: Span | None) -> bool:
    """Whether every waveform of the training had a peak of 1."""
    return span is not None and span.least > 0.99 and span.most < 1.01


def waveform(file: Path) -> Array:
    """The samples (n,) of a WAV file in [-1, 1], channels averaged.

    Raises:
        DataError: it has another sample size than 8, 16 or 32 bits.
        wave.Error, EOFError: it is no WAV file, or not whole.
    """
    with wave.open(str(file), "rb") as opened:
        wide, channels = opened.getsampwidth(), opened.getnchannels()
        content = opened.readframes(opened.getnframes())
    if wide not in (1, 2, 4):
        raise DataError(f"{file} has {8 * wide} bits a sample; expected 8, 16 or 32")
    whole = np.frombuffer(content, {1: "<u1", 2: "<i2", 4: "<i4"}[wide]).astype(np.float64)
    sound = (whole - 128) / 128 if wide == 1 else whole / 2.0 ** (8 * wide - 1)
    return sound.reshape(-1, channels).mean(1).astype(np.float32)


def _text(files: Sequence[Path], fitted: Fitted) -> Inputs:
    """A text in pieces; the last one ends with the text."""
    (file,) = files
    form = fitted.form
    codes = {label: code for code, label in enumerate(form.labels)}
    if form.task != "sequence" or not codes or max(map(len, codes)) > 1:
        raise DataError(f"{file} is a text; the model does not take one of characters")
    text = file.read_text(encoding="utf-8")
    strange = sorted(set(text) - set(codes))
    if strange:
        raise DataError(
            f"{file} holds {', '.join(map(repr, strange[:5]))}, which the model has never seen; it "
            f"knows {''.join(form.labels)!r}"
        )
    length = form.shape[0]
    if len(text) < length:
        raise DataError(f"{file} has {len(text)} characters; the model takes {length} at least")
    ends = list(range(len(text), length - 1, -length))[::-1]
    x = np.array([[codes[letter] for letter in text[end - length : end]] for end in ends])
    rest = ends[0] - length
    remarks = (f"the first {rest} characters are left out",) if rest else ()
    return Inputs(x, tuple(f"{end - length}-{end}" for end in ends), remarks)


def _names(files: Sequence[Path]) -> tuple[str, ...]:
    return tuple(file.name for file in files)


READERS: dict[str, Callable[[Sequence[Path], Fitted], Inputs]] = {
    "npy": _arrays,
    "npz": _arrays,
    "csv": _table,
    "image": _images,
    "wav": _waves,
    "txt": _text,
}
"""How each kind of file is read."""


# -- write ----------------------------------------------------------------------------------------


def write(
    prediction: Prediction,
    out: str | Path | TextIO | None,
    form: Form,
    names: Sequence[str] = (),
    kind: Format = "csv",
) -> None:
    """Write one row for each sample: what is predicted, how sure that is, and each probability.

    Of a sequence it is the token after the last one.

    Args:
        prediction: of any task.
        out: a file, something to write to, or None for the standard output.
        form: of the model.
        names: of the samples, by default their numbers.
        kind: "csv", or "json" for one object on each line.
    """
    rows = rows_of(prediction, form, names)
    with ExitStack() as stack:
        if isinstance(out, (str, Path)):
            out = stack.enter_context(Path(out).open("w", encoding="utf-8", newline=""))
        _write(rows, sys.stdout if out is None else out, kind)


def _write(rows: Iterator[dict[str, Any]], out: TextIO, kind: Format) -> None:
    if kind == "json":
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    table: Any = None
    for row in rows:
        if table is None:
            table = csv.DictWriter(out, list(row), lineterminator="\n")
            table.writeheader()
        table.writerow(row)


def rows_of(
    prediction: Prediction, form: Form, names: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows that `write` writes."""
    tell = {"regression": _numbers, "multi-label": _labels}.get(form.task, _choice)
    for row in range(len(prediction)):
        yield {"sample": names[row] if names else row, **tell(prediction, form, row)}


def _choice(prediction: Prediction, form: Form, row: int) -> dict[str, Any]:
    """One of several, yes or no, or the next token."""
    place = (row, -1) if form.task == "sequence" else row
    mean, spread = prediction.mean[place], prediction.spread[place]
    if form.task == "binary":
        mean, spread = np.array([1 - mean, mean]), np.array([spread, spread])
    codes = form.labels or tuple(map(str, range(len(mean))))
    chosen = int(mean.argmax())
    return {
        "predicted": codes[chosen],
        "probability": _short(mean[chosen]),
        "spread": _short(spread[chosen]),
        "entropy": _short(prediction.entropy[place]),
        "information": _short(prediction.information[place]),
        "accepted": bool(prediction.accepted[place]),
        **{f"p({code})": _short(one) for code, one in zip(codes, mean, strict=True)},
    }


def _labels(prediction: Prediction, form: Form, row: int) -> dict[str, Any]:
    """Yes or no for each label."""
    codes = form.labels or tuple(map(str, range(form.outputs)))
    chosen = [code for code, yes in zip(codes, prediction.labels[row], strict=True) if yes]
    return {
        "predicted": " ".join(chosen),
        "probability": _short(prediction.confidence[row].min()),
        "spread": _short(prediction.spread[row].max()),
        "entropy": _short(prediction.entropy[row].sum()),
        "information": _short(prediction.information[row].sum()),
        "accepted": bool(prediction.accepted[row].all()),
        **{f"p({c})": _short(one) for c, one in zip(codes, prediction.mean[row], strict=True)},
    }


def _numbers(prediction: Prediction, _: Form, row: int) -> dict[str, Any]:
    """Numbers, with their intervals where these are known."""
    found: dict[str, Any] = {}
    columns = {"predicted": prediction.mean, "spread": prediction.spread}
    columns |= (
        {"low": prediction.low, "high": prediction.high} if prediction.low is not None else {}
    )
    for name, values in columns.items():
        several = values is not None and values.ndim > 1
        for k, one in enumerate(np.atleast_1d(values[row] if values is not None else [])):
            found[f"{name} {k}" if several else name] = _short(one)
    return {**found, "accepted": bool(prediction.accepted[row].all())}


def _short(value: Any) -> float:
    """Six significant digits."""
    return float(f"{float(value):.6g}")
