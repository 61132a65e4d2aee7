"""The rows of training and evaluation, by their content: which occur twice, which in both.

Rows are read where they lie still: from the tensors of a TensorDataset or the arrays that a dataset
object holds, else from the batches as they pass, while the time budget allows. Random generators
are not touched and no dataset is asked for a sample. A row says something only if it is rich: rows
of a few discrete numbers come twice by chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nomagic.probes.batches import Batches, fingerprint, wrapped
from nomagic.probes.loaders import Entry, Loaders, Stretch, first, served, whole
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Batch, Call
from nomagic.words import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS = 50_000
"""Rows of one source that are hashed."""
COLUMNS = 256
"""Values of a row that its hash takes in, evenly spread."""
SOURCES = 200
AT_ONCE = 10_000
"""Rows hashed of one passing batch."""
SURE = 10.0
"""Bits beyond those of all pairs of rows from which on two equal rows are no accident."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that came from one loader (``loader`` is its number) or from one line.

    ``copies`` are rows that are equal to another row of the split, ``by_chance`` says that they
    look drawn with replacement, ``by_class`` that only rarer classes have them (oversampling).
    ``rich`` tells whether equal rows mean anything, ``width`` how many values of a row were
    compared. ``constant`` rows hold one single value, with labels of ``constant_classes`` classes.
    ``shared`` of the rows of an evaluation were trained on before, by the split ``training``;
    ``scored`` says that its outputs met labels. ``broken`` rows hold NaN or infinity, the ``first``
    of them at these indices.
    """

    role: Literal["training", "evaluation"]
    place: Place | None
    loader: int = -1
    rows: int = 0
    copies: int = 0
    rich: bool = False
    width: int = 0
    by_chance: bool = False
    by_class: bool = False
    constant: int = 0
    constant_classes: int = 0
    shared: int = 0
    training: int = -1
    scored: bool = False
    broken: int = 0
    first: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """The share of an evaluation's rows that were trained on."""
        return self.shared / self.rows if self.rows else 0.0


@dataclass(slots=True, eq=False)
class _Source:
    """Rows of one origin while the script runs: hash -> tick."""

    place: Place | None
    entry: Entry | None = None
    raw: bool = False
    counts: Counter[int] = field(default_factory=Counter[int])
    ticks: dict[int, int] = field(default_factory=dict[int, int])
    tick: int = 0
    matrix: Any = None
    labels: dict[int, int] = field(default_factory=dict[int, int])
    broken: list[int] = field(default_factory=list[int])
    constant: int = 0
    constant_labels: set[int] = field(default_factory=set[int])
    stale: int = 0
    prints: set[int] = field(default_factory=set[int])


class Samples(Probe[Split]):
    """The rows of training and evaluation, one split for each loader or line that they came from.

    ``unread`` counts evaluation calls whose rows were not read.
    """

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Loaders, Batches)
    windows: ClassVar[tuple[str, ...]] = ("on_batch", "on_call", "on_backward")

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._loaders: dict[int, _Source] = {}
        self._trained: dict[Stretch, _Source] = {}
        self._held: dict[tuple[Stretch, Place | None, int], _Source] = {}
        self.unread = 0
        self._candidate: tuple[Stretch, Place | None, NDArray[np.float32], int] | None = None
        self._whole: dict[Place | None, _Source] = {}

    # -- loaders -------------------------------------------------------------------------------

    def on_epoch(self, loader: Any, place: Place | None) -> None:
        """A pass begins: read the rows where they lie, once."""
        entry = self.run.probe(Loaders).of(loader)
        if entry is None or entry.number in self._loaders or not self.run.clock.spare():
            return
        source = self._loaders[entry.number] = _Source(entry.place, entry)
        rows, labels = lying(loader, entry)
        if rows is not None:
            source.raw = True
            add(source, rows, labels, self.run.tick)

    def on_batch(self, batch: Batch) -> None:
        """A batch passes: hash its rows, if they could not be read where they lie."""
        if batch.epoch:
            return
        entry = self.run.probe(Loaders).of(batch.loader)
        source = self._loaders.get(entry.number) if entry is not None else None
        if source is None or source.raw or len(source.ticks) >= ROWS or not self.run.clock.spare():
            return
        rows = matrix(first(batch.value))
        if rows is not None:
            add(source, rows, None, self.run.tick)

    # -- lines ---------------------------------------------------------------------------------

    def on_call(self, call: Call) -> None:
        """A network was called on rows that no loader handed out."""
        loaders = self.run.probe(Loaders)
        if loaders.current is not None or not loaders.network:
            return
        tensor = first(call.args) if call.args else first(call.kwargs)
        key = loaders.stretch(call.module)
        if call.grads:
            if tensor is not None and tensor.ndim > 1 and tensor.device.type == "cpu":
                self._training(key, call, tensor)
        elif not self._evaluation(key, call, tensor):
            self.unread += 1

    def _training(self, key: Stretch, call: Call, tensor: Any) -> None:
        source = self._trained.get(key)
        if source is not None and (source.stale >= 10 or len(source.ticks) >= ROWS):
            return
        if not self.run.clock.spare():
            return
        print_ = fingerprint(tensor)
        if print_ is None or (source is not None and print_ in source.prints):
            return
        rows = matrix(tensor)
        if rows is not None:
            self._candidate = key, call.place, rows, print_
            self._cut_from(call.place, tensor)

    def _cut_from(self, place: Place | None, tensor: Any) -> None:
        """The whole tensor that the batch was cut from, once for each line."""
        cut = self.run.probe(Batches).cut(tensor)
        if cut is None or place in self._whole or len(self._whole) >= 16:
            return
        rows = matrix(cut[1])
        source = self._whole[place] = _Source(cut[0] or place, raw=True)
        if rows is not None and tensor.ndim == getattr(cut[1], "ndim", 0):
            add(source, rows[:ROWS], None, self.run.tick)

    def _evaluation(self, key: Stretch, call: Call, tensor: Any) -> bool:
        if tensor is None or tensor.ndim < 2 or tensor.device.type != "cpu" or key[1] < 0:
            return False
        print_ = fingerprint(tensor)
        if print_ is None:
            return False
        known = self._held.get((key, call.place, print_))
        if known is not None:
            known.tick = self.run.tick
            return True
        if len(self._held) >= 2 * SOURCES or not self.run.clock.spare():
            return False
        rows = matrix(tensor)
        if rows is None:
            return False
        source = self._held[key, call.place, print_] = _Source(call.place, tick=self.run.tick)
        add(source, rows, None, self.run.tick)
        return True

    def on_backward(self, backward: Backward) -> None:
        """Gradients flow: the last rows were training."""
        if self._candidate is None:
            return
        key, place, rows, print_ = self._candidate
        self._candidate = None
        source = self._trained.get(key)
        if source is None:
            if len(self._trained) >= SOURCES:
                return
            source = self._trained[key] = _Source(place)
        before = len(source.ticks)
        source.prints.add(print_)
        add(source, rows, None, self.run.tick)
        source.stale = source.stale + 1 if len(source.ticks) - before < 0.02 * len(rows) else 0

    # -- the end -------------------------------------------------------------------------------

    def on_end(self) -> None:
        """The script is over: compare the splits, keep plain rows."""
        self._candidate = None
        for source in self._loaders.values():
            entry = source.entry
            if entry is not None and entry.trained:
                self.rows.append(split("training", source))
        self.rows += [split("training", source) for source in self._whole.values() if source.counts]
        full = [source for source in self._trained.values() if len(source.prints) == 1]
        self.rows += [split("training", source) for source in full]  # one batch was all the data
        self.rows += [self._evaluated(*compared) for compared in self._evaluations()]
        for held in (self._loaders, self._trained, self._held, self._whole):
            held.clear()

    def _evaluated(self, source: _Source, shared: int, training: int) -> Split:
        lines = self.run.probe(Loaders).scored_lines
        scored = source.entry.scored if source.entry is not None else source.place in lines
        return replace(
            split("evaluation", source), shared=max(0, shared), training=training, scored=scored
        )

    def _evaluations(self) -> Iterator[tuple[_Source, int, int]]:
        """Each evaluation with how many of its rows were trained on before, and where."""
        for source in self._loaders.values():
            entry = source.entry
            if entry is not None and entry.evaluations and source.counts:
                yield (source, *most(source, self._training_of_loader(entry)))
        pooled: dict[tuple[Any, ...], tuple[_Source, int, int]] = {}
        for (key, place, _), source in self._held.items():
            shared, number = most(source, self._training_of_line(key, source))
            familiar = (
                shared >= 0.95 * source.counts.total()
            )  # a look at the training data, not at held-out rows
            known = pooled.get((key, place, familiar))
            if known is None:
                pooled[key, place, familiar] = source, shared, number
            else:
                merge(known[0], source)
                pooled[key, place, familiar] = known[0], known[1] + shared, max(known[2], number)
        yield from pooled.values()

    def _training_of_loader(self, held: Entry) -> Iterator[tuple[int, set[int]]]:
        for source in self._loaders.values():
            entry = source.entry
            if entry is not None and entry is not held and served(entry.trained, held.evaluated):
                yield entry.number, set(source.counts)
        for key, source in self._trained.items():
            last = held.evaluated.get(key)
            if last is not None:
                yield -1, {value for value, tick in source.ticks.items() if tick < last}

    def _training_of_line(self, key: Stretch, held: _Source) -> Iterator[tuple[int, set[int]]]:
        for source in self._loaders.values():
            entry = source.entry
            if entry is not None and entry.trained.get(key, held.tick) < held.tick:
                yield entry.number, set(source.counts)
        own = self._trained.get(key)
        if own is not None:
            yield -1, {value for value, tick in own.ticks.items() if tick < held.tick}


def most(held: _Source, trained: Iterator[tuple[int, set[int]]]) -> tuple[int, int]:
    """The most rows shared with one training source, and the number of its loader."""
    best, number = 0, -1
    for other, hashes in trained:
        shared = sum(n for value, n in held.counts.items() if value in hashes)
        if shared > best:
            best, number = shared, other
    return best, number


def merge(into: _Source, other: _Source) -> None:
    """Pool two batches of one evaluation."""
    into.counts.update(other.counts)
    if other.matrix is not None and into.matrix is not None and len(into.matrix) < 1_000:
        into.matrix = join(into.matrix, other.matrix)


def split(role: Literal["training", "evaluation"], source: _Source) -> Split:
    """The finished row of a source."""
    rows = source.counts.total()
    copies = rows - len(source.counts)
    return Split(
        role=role,
        place=source.place,
        loader=source.entry.number if source.entry is not None else -1,
        rows=rows,
        copies=copies,
        rich=source.matrix is not None
        and bits(source.matrix) >= 2 * math.log2(max(2, rows)) + SURE,
        width=source.matrix.shape[1] if source.matrix is not None else 0,
        by_chance=bootstrap(source.counts),
        by_class=oversampled(source.counts, source.labels),
        constant=source.constant,
        constant_classes=len(source.constant_labels),
        broken=len(source.broken),
        first=tuple(source.broken[:5]),
    )


# -- reading rows ------------------------------------------------------------------------------


def lying(loader: Any, entry: Entry) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None]:
    """A loader's rows and class labels, read from the tensors or arrays its dataset holds."""
    import numpy as np
    import torch
    from torch.utils.data import IterableDataset, TensorDataset

    base = whole(loader.dataset)[0]
    picked = entry.rows
    if picked is None or isinstance(base, IterableDataset):
        return None, None
    picked = picked[:ROWS]
    if isinstance(base, TensorDataset):
        held: list[Any] = list(base.tensors)
    else:
        count = len(base) if hasattr(base, "__len__") else 0
        held = (
            [value for value in vars(base).values() if is_array(value, count)]
            if hasattr(base, "__dict__")
            else []
        )
    wide = [array for array in held if array.ndim >= 2 and str(array.dtype).split(".")[-1] in KINDS]
    if not wide:
        return None, None
    data = max(wide, key=lambda array: math.prod(array.shape[1:]))
    if isinstance(data, torch.Tensor) and data.device.type != "cpu":
        return None, None
    rows = matrix(
        data[torch.from_numpy(picked)] if isinstance(data, torch.Tensor) else data[picked]
    )
    flat = [a for a in held if a.ndim == 1 and not str(a.dtype).split(".")[-1].startswith("float")]
    labels = np.asarray(flat[0])[picked].astype(np.int64) if len(flat) == 1 else None
    return rows, labels


KINDS = frozenset({"float16", "float32", "float64", "bfloat16", "uint8"})
"""Types of data whose rows are rich; whole numbers in wide types are tokens, indices, counts."""


def is_array(value: Any, count: int) -> bool:
    """Whether an attribute holds one row for each sample."""
    shape = getattr(value, "shape", None)
    return bool(
        hasattr(value, "dtype")
        and isinstance(shape, tuple)
        and len(shape)
        and shape[0] == count > 1
    )


def matrix(tensor: Any) -> NDArray[np.float32] | None:
    """The rows of a batch, at most `COLUMNS` values each; None for what cannot be rows."""
    import numpy as np
    import torch

    if (
        tensor is None
        or getattr(tensor, "ndim", 0) < 2
        or str(tensor.dtype).split(".")[-1] not in KINDS
    ):
        return None
    if isinstance(tensor, torch.Tensor):
        if tensor.device.type != "cpu" or tensor.layout is not torch.strided or wrapped(tensor):
            return None
        flat = tensor.detach()[:ROWS].reshape(min(len(tensor), ROWS), -1)
        width = flat.shape[1]
        return flat[:, :: max(1, -(-width // COLUMNS))].float().numpy() if width else None
    array = np.asarray(tensor)[:ROWS].reshape(min(len(tensor), ROWS), -1)
    width = array.shape[1]
    return array[:, :: max(1, -(-width // COLUMNS))].astype(np.float32) if width else None


def add(
    source: _Source, rows: NDArray[np.float32], labels: NDArray[np.int64] | None, tick: int
) -> None:
    """Take rows into a source."""
    import numpy as np

    rows = np.ascontiguousarray(rows if source.raw else rows[:AT_ONCE])
    if not rows.size:
        return
    if source.raw:
        source.broken += np.flatnonzero(~np.isfinite(rows).all(1)).tolist()
    flat = np.zeros(len(rows), dtype=bool)
    if rows.shape[1] >= 16:
        flat = (rows == rows[:, :1]).all(1)
        source.constant += int(flat.sum())
    marks = [hash(row) for row in rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist()]
    note(source, marks, flat, labels, tick)
    if source.matrix is None or len(source.matrix) < 1_000:
        kept = rows[~flat][:: max(1, len(rows) // 1_000)].copy()
        source.matrix = kept if source.matrix is None else join(source.matrix, kept)


def note(
    source: _Source,
    marks: list[int],
    flat: NDArray[np.bool_],
    labels: NDArray[np.int64] | None,
    tick: int,
) -> None:
    """Count rows by their hashes; those of one single value apart."""
    told = labels.tolist() if labels is not None and len(labels) == len(marks) else None
    for i, mark in enumerate(marks):
        if flat[i]:
            if told is not None:
                source.constant_labels.add(told[i])
            continue
        source.counts[mark] += 1
        source.ticks.setdefault(mark, tick)
        if told is not None:
            source.labels[mark] = told[i]


def join(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two matrices below each other, if they are equally wide."""
    import numpy as np

    return np.concatenate([one, other]) if one.shape[1] == other.shape[1] else one


# -- what equal rows mean ----------------------------------------------------------------------


def bits(rows: NDArray[np.float32]) -> float:
    """Bits by which two random rows differ, over the columns that hold more than two values."""
    import numpy as np

    total = 0.0
    for column in rows.T:
        counts = np.unique(column, return_counts=True)[1]
        if len(counts) > 2:
            total -= math.log2(float(((counts / len(column)) ** 2).sum()))
    return total


def bootstrap(counts: Counter[int]) -> bool:
    """Whether rows come as when drawn with replacement: 58 % of them once, 29 % twice."""
    different = len(counts)
    if different < 50:
        return False
    often = Counter(counts.values())
    slack = 0.03 + 1.5 / math.sqrt(different)
    return abs(often[1] / different - 0.582) < slack and abs(often[2] / different - 0.291) < slack


def oversampled(counts: Counter[int], labels: dict[int, int]) -> bool:
    """Whether copies are made of rarer classes only: rows repeated on purpose."""
    different, copies = Counter[int](), Counter[int]()
    for mark, label in labels.items():
        different[label] += 1
        copies[label] += counts[mark] - 1
    if len(different) < 2 or not copies.total():
        return False
    label, most = different.most_common(1)[0]
    rarer = sum(n for other, n in copies.items() if different[other] <= 0.8 * most)
    return copies[label] <= 0.01 * most and rarer >= 0.95 * copies.total()
