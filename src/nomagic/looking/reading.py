"""What a user names becomes what is looked at: setups, arrays, folders, tables, also faulty ones.

Where a fit refuses data, a look sets aside what cannot be used, and says what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from nomagic import setups
from nomagic.config import nearest
from nomagic.datasets import as_data, tables, targets
from nomagic.datasets.samples import Data, DataError, collate
from nomagic.engine.plan import Plan
from nomagic.looking import files
from nomagic.looking.subject import Broken, Given, LookError, chosen
from nomagic.words import Setup

Array = np.ndarray[Any, Any]

SHOWN, FIRST = 12, 5
"""Broken samples that are shown, and named."""
RATES = {"fsdd": 8_000}
"""Samples a second of built-in waveforms."""
BUNDLED = {"wine": "load_wine", "breast-cancer": "load_breast_cancer", "diabetes": "load_diabetes"}
"""Where built-in tables have their columns' names from."""
VARIED = 16
"""Items of a Dataset that are read twice."""


def read(
    named: Any,
    target: str | None = None,
    folder: str | Path | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Given:
    """Everything that a user may name.

    Args:
        named: a built-in name, ``file.py`` or ``file.py:name`` with a `Setup`, a `Setup`, arrays
            (x, y) or x alone, `Data`, a torch ``Dataset``, (frame, column), a ``.npy``, ``.npz`` or
            ``.csv`` file, or a folder of images or wavs in subfolders.
        target: the column of a table that is to be predicted.
        folder: of built-in data.
        samples: how many items of a ``Dataset`` are read, at most.
        seed: of what is drawn.

    Raises:
        LookError, UnknownSetupError, DataError: there is nothing of the kind, or no sample in it
            can be used.
    """
    if isinstance(named, (str, Path)):
        found = _named(str(named), target, folder, samples, seed)
    elif isinstance(named, Setup):
        found = _setup(setups.resolve(named, folder), samples, seed)
    else:
        found = _split(_given(named, target, samples, seed))
    if len(found.data) < 2:
        raise LookError(
            f"{len(found.data)} sample of {found.data.name} can be used; expected two or more"
        )
    return found


def _named(
    named: str, target: str | None, folder: str | Path | None, samples: int | None, seed: int
) -> Given:
    source = Path(named).expanduser()
    if not (named in setups.BUILTIN or ":" in named or source.exists()):
        raise LookError(_nothing(source))
    if named in setups.BUILTIN or not source.exists() or source.suffix == ".py":
        return _setup(setups.resolve(named, folder), samples, seed)
    if source.is_dir():
        return _from_files(files.folder(source, samples, seed))
    table = source.name.lower().removesuffix(".gz").endswith(".csv")
    if target and not table:
        raise LookError(f"--target goes with a table; {source} is none")
    if table:
        frame, column, remarks = files.table(source, target)
        found = _frame(frame, column, source.stem.removesuffix(".csv"))
        return replace(found, remarks=(*found.remarks, *remarks))
    return _from_files(files.arrays(source))


def _nothing(source: Path) -> str:
    beside = [one.name for one in source.parent.glob("*")] if source.parent.is_dir() else []
    near = nearest(source.name, setups.BUILTIN) or nearest(source.name, beside)
    return (
        f"there is no file and no built-in set {source}{near}; expected file.py or file.py:name "
        "with a setup, a .npy, .npz or .csv file, a folder of images or wavs, or one of "
        f"{', '.join(setups.BUILTIN)}"
    )


# -- setups ---------------------------------------------------------------------------------------


def _setup(setup: Setup, samples: int | None, seed: int) -> Given:
    found = _given(setup.data, None, samples, seed, setup.name)
    if setup.groups is not None:
        groups = torch.from_numpy(np.unique(np.asarray(setup.groups), return_inverse=True)[1])
        rows = found.rows if found.rows is not None else torch.arange(len(groups))
        if len(groups) < (found.total or len(found.data)):
            raise LookError(f"the setup has {len(groups)} groups for {found.total} samples")
        found = replace(found, data=replace(found.data, groups=groups[rows]))
        setup = replace(setup, groups=groups[rows])
    found = replace(found, setup=setup)
    if found.parts:
        return found
    plan = Plan(replace(setup, inputs=()), found.data)
    fixed = found.data.test_rows
    if fixed is None or setup.split == "fixed":
        part = plan.part(seed)
        held = "test" if fixed is not None else "validation"
        return replace(found, parts={"training": part.train, held: part.held})
    train, test = fixed
    part = Plan(replace(setup, inputs=()), found.data.subset(train)).part(seed)
    parts = {"training": train[part.train], "validation": train[part.held], "test": test}
    return replace(found, parts=parts)


def _split(given: Given) -> Given:
    """The parts that the data came with."""
    if given.parts or given.data.test_rows is None:
        return given
    train, test = given.data.test_rows
    return replace(given, parts={"training": train, "test": test})


# -- what is in memory ----------------------------------------------------------------------------


def _given(data: Any, target: str | None, samples: int | None, seed: int, name: str = "") -> Given:
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (str, Data)):
        found = as_data(data)
        if not isinstance(found.x, Tensor):
            return _items(found.x, samples, seed, found.name)
        return Given(found, columns=_columns(found), rate=RATES.get(found.name, 0))
    if target is not None:
        data = (data, target)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return _pair(data[0], data[1], name or "data")
    if isinstance(data, (Tensor, np.ndarray)):
        return _from_files(files.Arrays(name or "arrays", {"": (data, None)}))
    return _items(data, samples, seed, name)


def _pair(x: Any, y: Any, name: str) -> Given:
    if isinstance(y, str) and (isinstance(x, dict) or hasattr(x, "columns")):
        frame = {str(one): np.asarray(x[one]) for one in getattr(x, "columns", x)}
        return _frame(frame, y, name)
    return _from_files(files.Arrays(name, {"": (x, y)}))


def _from_files(found: files.Arrays) -> Given:
    """Arrays by part, together, without the rows that cannot be used."""
    _refuse_single(found)
    x, y = _joined([x for x, _ in found.parts.values()]), None
    if all(y is not None for _, y in found.parts.values()):
        y = _joined([y for _, y in found.parts.values()])
    if y is not None and len(y) != len(x):
        raise DataError(f"the lengths differ: {len(x)} in x and {len(y)} in y")
    part = np.repeat(np.arange(len(found.parts)), [len(x) for x, _ in found.parts.values()])
    names = found.names or _numbered(found)
    good, broken = _usable(x, y, names or _called(range(len(x))))
    if y is not None:
        good, alone = _without_singles(y, good)
        broken = (*broken, *alone)
    rows = np.flatnonzero(good)
    if len(rows) < 2:
        told = "; ".join(f"{one.count} samples {one.what}" for one in broken)
        raise LookError(f"{len(rows)} of {len(x)} samples of {found.name} can be used ({told})")
    kept = x if good.all() else x[torch.from_numpy(good) if isinstance(x, Tensor) else good]
    data = _data(kept, None if y is None else y[good], found.labels, found.name)
    codes = torch.from_numpy(part[rows])
    parts = {one: (codes == at).nonzero().flatten() for at, one in enumerate(found.parts)}
    return Given(
        replace(data, remarks=(*data.remarks, *found.remarks)),
        rows=torch.from_numpy(rows),
        parts=parts if len(parts) > 1 else {},
        labelled=y is not None,
        names=names,
        broken=(*found.broken, *broken),
        findings=found.findings,
        rate=found.rate,
        total=len(rows) if found.total == 0 else found.total,
    )


def _refuse_single(found: files.Arrays) -> None:
    for pair in found.parts.values():
        for side, array in zip("xy", pair, strict=True):
            if array is not None and np.ndim(array) == 0:
                raise DataError(
                    f"{side} of {found.name} is a single {type(array).__name__}; expected an array "
                    "with one row for each sample"
                )


def _numbered(found: files.Arrays) -> tuple[str, ...]:
    """Rows by their part, where there are several."""
    if len(found.parts) < 2:
        return ()
    sizes = {part: len(x) for part, (x, _) in found.parts.items()}
    return tuple(f"{part} row {row}" for part, size in sizes.items() for row in range(size))


def _data(x: Any, y: Any, labels: tuple[str, ...], name: str) -> Data:
    """Data with targets, or with zeros where there are none."""
    if y is not None:
        return as_data((x, y), labels=labels, name=name)
    return as_data((x, np.zeros(len(x), np.float32)), task="regression", name=name)


def _joined(arrays: list[Any]) -> Any:
    if len(arrays) == 1:
        one = arrays[0]
        return one.detach().cpu() if isinstance(one, Tensor) else np.asarray(one)
    shapes = {np.shape(one)[1:] for one in arrays}
    if len(shapes) > 1:
        raise DataError(f"the parts have samples of different shapes: {sorted(shapes)}")
    return np.concatenate([np.asarray(one) for one in arrays])


def _usable(x: Any, y: Any, names: Sequence[str]) -> tuple[Array, tuple[Broken, ...]]:
    """Which samples hold finite numbers only (n,), and what is wrong with the others."""
    good, called = np.ones(len(x), bool), np.array(names)
    broken: list[Broken] = []
    floats = x.is_floating_point() if isinstance(x, Tensor) else x.dtype.kind == "f"
    if floats and len(x):
        values = torch.as_tensor(x)
        flat = values.reshape(len(values), -1)
        for what, rows in (("NaN", flat.isnan().any(1)), ("infinity", flat.isinf().any(1))):
            if bool(rows.any()):
                broken.append(_hold(what, rows.numpy(), values, called))
                good &= ~rows.numpy()
    if y is not None and np.asarray(y).dtype.kind == "f":
        missing = ~np.isfinite(np.asarray(y, float).reshape(len(y), -1)).all(1)
        if missing.any():
            broken.append(_targets(called[missing].tolist()))
            good &= ~missing
    return good, tuple(broken)


def _hold(what: str, rows: Array, x: Tensor, called: Array) -> Broken:
    where = np.flatnonzero(rows)
    return Broken(
        f"hold {what}",
        "find where they come from; drop or fill them before training: one of them turns every "
        "weight into NaN",
        len(where),
        tuple(called[where[:FIRST]].tolist()),
        x=x[torch.from_numpy(where[:SHOWN])].float(),
    )


def _targets(names: list[str]) -> Broken:
    return Broken("have no target", "drop them, or label them", len(names), tuple(names[:FIRST]))


def _called(rows: Iterable[int]) -> list[str]:
    return [f"row {row}" for row in rows]


def _some(rows: Iterable[int]) -> tuple[str, ...]:
    return tuple(_called(islice(rows, FIRST)))


def _without_singles(y: Any, good: Array) -> tuple[Array, tuple[Broken, ...]]:
    """Without the classes that have a single sample."""
    values = np.asarray(y)
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        return good, ()
    names, codes, counts = np.unique(values[good], return_inverse=True, return_counts=True)
    lone = counts == 1
    if not lone.any() or lone.sum() > len(names) // 2 or len(names) > good.sum() // 2:
        return good, ()
    rows = np.flatnonzero(good)[lone[codes]]
    left = good.copy()
    left[rows] = False
    some = ", ".join(map(str, names[lone][:5]))
    what = f"are the only one of their class ({some})"
    fix = "merge or drop these classes: none can be learnt and scored as well"
    return left, (Broken(what, fix, len(rows), _some(rows), proven=False),)


# -- items of a Dataset ---------------------------------------------------------------------------


def _items(dataset: Any, samples: int | None, seed: int, name: str) -> Given:
    """Some items of a Dataset, each after the user's own transforms."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and len(dataset)):
        as_data(dataset)  # says what is wrong with it
    kind = type(dataset).__name__
    first = _item(dataset, 0)
    features = 1_000 if isinstance(first, str) else first[0].numel()
    rows = chosen(len(dataset), features, samples, seed).tolist()
    found, broken = _alike({row: _item(dataset, row) for row in rows})
    if len(found) < 2:
        told = "; ".join(f"{one.count} {one.what}" for one in broken)
        raise LookError(f"{len(found)} of {len(rows)} items of the {kind} can be used ({told})")
    x = torch.stack([x for x, _ in found.values()])
    y = torch.stack([y for _, y in found.values()])
    numbers = list(found)
    usable, bad = _usable(x, y, _called(numbers))
    mask = torch.from_numpy(usable)
    if int(mask.sum()) < 2:
        raise LookError(f"all items of the {kind} hold NaN or infinity")
    whole = not y.is_floating_point() and y.ndim == 1
    task = "classification" if whole else targets.infer(x[mask], y[mask])
    y = y.float() if task in ("binary", "multi-label") else y
    return Given(
        Data(name or kind, x[mask], y[mask], task, _labels(dataset)),
        rows=torch.tensor(numbers)[mask],
        broken=(*broken, *bad),
        remarks=tuple(_varied(dataset, found)),
        total=len(dataset),
    )


def _item(dataset: Any, row: int) -> tuple[Tensor, Tensor] | str:
    """One item as tensors, or why there is none."""
    try:
        x, y = collate(dataset, [row])
    except DataError as error:
        return str(error).split(";")[0].split(":")[0]
    except Exception as error:  # of the user's own code
        said = str(error).splitlines()
        return f"{type(error).__name__}: {said[0] if said else ''}"[:200]
    return x[0], y[0]


def _alike(
    items: Mapping[int, tuple[Tensor, Tensor] | str],
) -> tuple[dict[int, tuple[Tensor, Tensor]], tuple[Broken, ...]]:
    """Items of the most frequent shape by row, and what is wrong with the others."""
    good = {row: item for row, item in items.items() if not isinstance(item, str)}
    shapes = Counter((tuple(x.shape), tuple(y.shape)) for x, y in good.values())
    (shape, _), *_ = shapes.most_common(1) or [(((), ()), 0)]
    failed: dict[str, list[int]] = {}
    for row, item in items.items():
        if isinstance(item, str):
            failed.setdefault(f"cannot be read ({item})", []).append(row)
        elif (tuple(item[0].shape), tuple(item[1].shape)) != shape:
            failed.setdefault(f"have another shape than {shape[0]}", []).append(row)
            del good[row]
    fix = "repair or drop them; pad, crop or scale all to one shape"
    return good, tuple(Broken(what, fix, len(rows), _some(rows)) for what, rows in failed.items())


def _varied(dataset: Any, found: Mapping[int, tuple[Tensor, Tensor]]) -> Iterator[str]:
    """Whether items differ when they are read again: random augmentation."""
    rows = list(found)[:VARIED]
    again = [_item(dataset, row) for row in rows]
    differ = [
        not isinstance(item, str) and not _same(item[0], found[row][0])
        for row, item in zip(rows, again, strict=True)
    ]
    if any(differ):
        yield (
            f"{sum(differ)} of {len(rows)} items are another each time that they are read (random "
            "augmentation): exact copies cannot be seen behind it"
        )


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=0, equal_nan=True)


def _labels(dataset: Any) -> tuple[str, ...]:
    while hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    return tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else ()


# -- tables ---------------------------------------------------------------------------------------


def _frame(frame: Mapping[str, Any], target: str, name: str) -> Given:
    """A table without the rows and columns that cannot be used."""
    if target not in frame:
        tables.coded(frame, target)  # says which columns there are
    columns = {one: np.asarray(values) for one, values in frame.items()}
    good, broken = _good_rows(columns, target)
    kept, left_out = _good_columns({one: values[good] for one, values in columns.items()}, target)
    alone_good, alone = _without_singles(kept[target], np.ones(int(good.sum()), bool))
    rows = np.flatnonzero(good)[alone_good]
    kept = {one: values[alone_good] for one, values in kept.items()}
    data = as_data((kept, target), name=name)
    return Given(
        data,
        rows=torch.from_numpy(rows),
        columns=_columns(data),
        broken=(*broken, *left_out, *alone),
        total=len(rows),
    )


def _good_rows(columns: Mapping[str, Array], target: str) -> tuple[Array, tuple[Broken, ...]]:
    missing = tables.is_missing(columns[target])
    endless = np.zeros(len(missing), bool)
    where: list[str] = []
    for name, values in columns.items():
        found = _infinite(values)
        if found.any():
            where.append(name)
            endless |= found
    broken: list[Broken] = []
    if missing.any():
        broken.append(_targets(_called(np.flatnonzero(missing))))
    if endless.any():
        rows = np.flatnonzero(endless).tolist()
        what = f"hold infinity (in {', '.join(where[:5])})"
        broken.append(
            Broken(what, "find where it comes from; drop or fill it", len(rows), _some(rows))
        )
    return ~(missing | endless), tuple(broken)


def _good_columns(
    columns: Mapping[str, Array], target: str
) -> tuple[dict[str, Array], tuple[Broken, ...]]:
    kept: dict[str, Array] = {}
    broken: list[Broken] = []
    for name, values in columns.items():
        why = "" if name == target else _unusable(name, values)
        if why:
            fix = "drop the column, or turn it into numbers"
            broken.append(Broken(f"column:{why}", fix, 1, (name,), proven=False))
        else:
            kept[name] = values
    if len(kept) < 2:
        raise LookError("no column beside the target can be used; expected numbers or categories")
    return kept, tuple(broken)


def _infinite(values: Array) -> Array:
    return np.isinf(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)


def _unusable(name: str, values: Array) -> str:
    """Why a column cannot become numbers; empty where it can."""
    try:
        tables.coded({name: values, f"not {name}": np.zeros(len(values))}, f"not {name}")
    except DataError as error:
        return str(error)
    return ""


def _columns(data: Data) -> tuple[str, ...]:
    """The names of the columns, also of the tables that come with scikit-learn."""
    if data.coding is not None:
        return data.coding.names
    if data.name not in BUNDLED:
        return ()
    from sklearn import datasets

    return tuple(map(str, getattr(datasets, BUNDLED[data.name])().feature_names))
