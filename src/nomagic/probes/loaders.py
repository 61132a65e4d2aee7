"""Every DataLoader of the script: how it is built, what it fed, which rows it shares.

What a loader feeds is judged by what happens between its batches: a backward makes it training,
module calls without gradients and no backward make it evaluation. Rows are compared by their
indices in the same data set; datasets are never read.

One script can train several networks, or one several times (folds, sweeps): a *stretch* is what one
network was trained on between the construction of an optimizer (or the loading of weights) and the
next. Only loaders that served the same network in the same stretch are compared.
"""

from __future__ import annotations

import linecache
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Batch, Call, Op
from nomagic.words import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Stretch = tuple[int, int]
"""A network (by number) and the count of its training stretches."""

LOADERS = 200
"""Loaders followed; a script that builds one per step has no use for more."""
INDICES = 1_000_000
"""Rows of a loader whose indices are kept for comparing."""
NAMED = re.compile(r"^\s*(?:self\.)?(\w+)\s*(?::[^=]+)?=[^=]")
SCORING = frozenset(
    {
        *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
        *("binary_cross_entropy", "binary_cross_entropy_with_logits"),
        *("eq", "__eq__", "ne", "__ne__"),
    }
)
"""Functions that compare predictions with labels."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the held-out loader's ``of`` rows ``rows`` are also in the training loader ``training``.

    ``whole`` says that these are (nearly) all rows of that training loader, too: the training set
    itself.
    """

    training: int
    rows: int
    of: int
    whole: bool

    @property
    def share(self) -> float:
        """The share of the held-out rows that were trained on."""
        return self.rows / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class Loader:
    """One DataLoader.

    ``training`` counts batches followed by a backward, ``evaluations`` whole passes without.
    ``sampler`` is ``sequential``, ``random``, ``weighted``, ``iterable`` or ``other``; ``per_pass``
    the batches of one pass. ``stored`` names random generators that live on the dataset or its
    transforms and are drawn from when a sample is fetched. ``scored`` says that its batches' labels
    met predictions. ``before`` the tick at which it was last evaluated, ``since`` the one at which
    it first trained.
    """

    number: int
    place: Place | None
    name: str = ""
    dataset: str = ""
    in_memory: bool = False
    size: int | None = None
    sampler: str = "other"
    batch_size: int | None = None
    per_pass: int | None = None
    workers: int = 0
    init_fn: bool = False
    passes: int = 0
    batches: int = 0
    training: int = 0
    evaluations: int = 0
    scored: bool = False
    waited: float = 0.0
    stored: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of a loader while the script runs."""

    number: int
    place: Place | None
    loader: weakref.ref[Any]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    data: object = None
    rows: NDArray[np.int64] | None = None
    passes: int = 0
    batches: int = 0
    training: int = 0
    evaluations: int = 0
    scored: bool = False
    waited: float = 0.0
    since: int = 0
    index: int = -1
    size: int = 0
    calls: int = 0
    graded: bool = False
    pass_calls: bool = False
    pass_training: int = 0
    pass_keys: dict[Stretch, int] = field(default_factory=dict[Stretch, int])
    trained: dict[Stretch, int] = field(default_factory=dict[Stretch, int])
    evaluated: dict[Stretch, int] = field(default_factory=dict[Stretch, int])


class Loaders(Probe[Loader]):
    """The DataLoaders of the script, in the order of their construction.

    While the script runs, ``network`` says whether the last outermost call was of a module with
    parameters (not a loss), ``current`` is the loader that fed it (None: no loader did),
    ``stretch`` tells in which stretch a module is. ``scored_lines`` are the call lines of
    evaluations without a loader whose outputs met labels.
    """

    windows: ClassVar[tuple[str, ...]] = ("on_batch", "on_call", "on_backward")

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self.entries: list[Entry] = []
        self.current: Entry | None = None
        self.network = False
        self._known: weakref.WeakKeyDictionary[Any, Entry] = weakref.WeakKeyDictionary()
        self._networks: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._hollow: dict[int, weakref.ref[Any]] = {}
        self._count = 0
        self._counts: dict[int, int] = {}
        self._pending = ""
        self._active: list[Entry] = []
        self.scored_lines: set[Place | None] = set()
        self._scoring: Entry | None = None
        self._line: tuple[Place | None] | None = None
        self._last: Stretch | None = None

    # -- which network, which stretch ---------------------------------------------------------

    def stretch(self, module: object) -> Stretch:
        """The network's number and its stretch of training; a negative stretch is between two."""
        known = self._networks.get(id(module))
        if known is None or known[0]() is not module:
            self._count += 1
            known = self._networks[id(module)] = (weakref.ref(module), self._count)
        number = known[1]
        return number, -1 if self._pending == "optimizer" else self._counts.get(number, 0)

    def _is_network(self, module: Any) -> bool:
        """Whether a module has parameters; losses and activations on their own have none."""
        known = self._hollow.get(id(module))
        if known is not None and known() is module:
            return False
        if id(module) in self._networks or next(module.parameters(), None) is not None:
            return True
        self._hollow[id(module)] = weakref.ref(module)
        return False

    def on_optimizer(self, optimizer: Any, place: Place | None) -> None:
        """A new optimizer: what is trained from now on is another stretch."""
        self._pending = "optimizer" if self._last is not None else ""

    def on_restore(self, owner: Any, state: Any, place: Place | None) -> None:
        """Weights were loaded: if training follows, it is another stretch."""
        if self._last is not None and not self._pending:
            self._pending = "restored"

    def _begin_stretch(self) -> None:
        self._pending = ""
        for number in range(1, self._count + 1):
            self._counts[number] = self._counts.get(number, 0) + 1

    # -- loaders ------------------------------------------------------------------------------

    def on_loader(self, loader: Any, place: Place | None) -> None:
        """A DataLoader was constructed."""
        self._enter(loader, place)

    def _enter(self, loader: Any, place: Place | None) -> Entry | None:
        if len(self.entries) >= LOADERS:
            return None
        entry = Entry(len(self.entries), place, weakref.ref(loader))
        entry.facts = facts(loader)
        entry.data = handle(whole(loader.dataset)[0])
        self.entries.append(entry)
        self._known[loader] = entry
        return entry

    def of(self, loader: Any) -> Entry | None:
        """The entry of a live loader."""
        return self._known.get(loader)

    def on_epoch(self, loader: Any, place: Place | None) -> None:
        """A pass begins; the pass before is over."""
        entry = self._known.get(loader) or self._enter(loader, place)
        if entry is None:
            return
        if entry.passes == 0:
            entry.facts |= facts(loader)
            entry.rows = indices(loader)
            entry.facts["stored"] = tuple(generators(loader)) if loader.num_workers else ()
        self._end_pass(entry)
        entry.passes += 1
        entry.index = -1

    def _end_pass(self, entry: Entry) -> None:
        if entry.pass_calls and not entry.pass_training:
            entry.evaluations += 1
            entry.evaluated |= entry.pass_keys
        entry.pass_calls, entry.pass_training = False, 0
        entry.pass_keys = {}

    def on_batch(self, batch: Batch) -> None:
        """A loader handed out a batch."""
        entry = self._known.get(batch.loader)
        if entry is None:
            return
        entry.batches += 1
        entry.waited += batch.waited
        entry.index = batch.index
        entry.calls, entry.graded = 0, False
        if entry.since == 0:
            self._active.append(entry)
        entry.since += 1
        if batch.index == 0:
            entry.size = height(batch.value)

    def on_call(self, call: Call) -> None:
        """A network was called: find the loader whose batch it was called on."""
        self.network = self._is_network(call.module)
        if not self.network:
            return
        entry = None
        if call.batch is not None:
            entry = self._known.get(call.batch.loader)
            if entry is not None and not fits(call, entry.size):
                entry = None
        self.current = self._scoring = entry
        self._line = (call.place,) if entry is None and not call.grads else None
        if entry is None:
            return
        entry.calls += 1
        entry.pass_calls = True
        if call.grads:
            entry.graded = True
            self._scoring = None
        if not entry.pass_keys or not call.grads:
            key = self.stretch(call.module)
            if key[1] >= 0:
                entry.pass_keys[key] = self.run.tick

    def on_wake(self) -> None:
        """Some ticks went by unheard: which batches this one has had is not known."""
        for entry in self._active:
            entry.since = 0
        self._active.clear()
        self._scoring = self._line = None

    def on_op(self, op: Op) -> None:
        """After an evaluation call: see whether the script compares its output with labels."""
        if op.name not in SCORING:
            return
        if self._scoring is not None:
            self._scoring.scored = True
        if self._line is not None:
            self.scored_lines.add(self._line[0])

    def on_backward(self, backward: Backward) -> None:
        """Gradients flow: the loader whose batch is in hand fed training."""
        if self._pending:
            self._begin_stretch()
        calls = [call for call in backward.calls[-8:] if self._is_network(call.module)]
        self._last = self.stretch(calls[-1].module) if calls else (0, 0)
        hand = self.run.batch
        holder = self._known.get(hand.loader) if hand is not None else None
        for entry in self._active:
            alone = entry.since == 1 and entry.facts["per_pass"] != entry.index + 1
            if (entry is holder or alone) and (entry.graded or not entry.calls):
                self._train(entry, calls)
            entry.since = 0
        if holder is not None and holder not in self._active and holder.graded:
            holder.pass_training += 1
        self._active.clear()
        self._scoring = self._line = None

    def _train(self, entry: Entry, calls: list[Call]) -> None:
        entry.training += 1
        entry.pass_training += 1
        if len(entry.trained) < LOADERS:
            for call in calls[-2:]:
                entry.trained.setdefault(self.stretch(call.module), self.run.tick)

    # -- the end ------------------------------------------------------------------------------

    def on_end(self) -> None:
        """The script is over: compare the loaders, keep plain rows."""
        for entry in self.entries:
            self._end_pass(entry)
        self.rows += [self._row(entry) for entry in self.entries]
        for entry in self.entries:
            entry.data = entry.rows = None
        self._active.clear()
        self._networks.clear()
        self.current = self._scoring = None

    def _row(self, entry: Entry) -> Loader:
        return Loader(
            number=entry.number,
            place=self._origin(entry),
            name=variable(self._origin(entry)),
            passes=entry.passes,
            batches=entry.batches,
            training=entry.training,
            evaluations=entry.evaluations,
            scored=entry.scored,
            waited=entry.waited,
            overlaps=tuple(self._overlaps(entry)),
            **entry.facts,
        )

    def _origin(self, entry: Entry) -> Place | None:
        """The user's own construction, where a framework built the loader that runs from it."""
        for other in self.entries[: entry.number]:
            if (
                other.passes == 0 < entry.passes
                and same(other.data, entry.data)
                and other.facts["batch_size"] == entry.facts["batch_size"]
            ):
                return other.place
        return entry.place

    def _overlaps(self, held: Entry) -> Iterator[Overlap]:
        if held.rows is None or not held.evaluations:
            return
        for entry in self.entries:
            if entry is held or entry.rows is None or not same(entry.data, held.data):
                continue
            if served(entry.trained, held.evaluated):
                rows, share = common(entry.rows, held.rows)
                if rows:
                    yield Overlap(entry.number, rows, len(held.rows), share >= 0.95)


def served(trained: dict[Stretch, int], evaluated: dict[Stretch, int]) -> bool:
    """Whether a network was evaluated on the one after training on the other, in one stretch.

    A network that was never trained itself (an average, a copy) counts as the only one that was.
    """
    if any(key in evaluated and tick < evaluated[key] for key, tick in trained.items()):
        return True
    networks = {number for number, _ in trained}
    strangers = [key for key in evaluated if key[0] not in networks]
    return len(trained) == 1 and bool(strangers) and len(strangers) == len(evaluated)


def common(training: NDArray[np.int64], held: NDArray[np.int64]) -> tuple[int, float]:
    """How many held-out rows were trained on, and which share of the training rows they are."""
    import numpy as np

    shared = np.isin(held, training)
    count = int(shared.sum())
    return count, count / max(1, len(np.unique(training)))


# -- reading a loader --------------------------------------------------------------------------


def facts(loader: Any) -> dict[str, Any]:
    """The plain settings of a loader."""
    from torch.utils.data import TensorDataset

    base = whole(loader.dataset)[0]
    return {
        "dataset": type(base).__name__,
        "in_memory": isinstance(base, TensorDataset) or type(base) is list,
        "size": length(loader.dataset),
        "sampler": kind(loader),
        "batch_size": batch_size(loader),
        "per_pass": length(loader),
        "workers": int(loader.num_workers),
        "init_fn": loader.worker_init_fn is not None,
    }


def length(thing: Any) -> int | None:
    """The length of a dataset or a loader, if it has one."""
    try:
        return len(thing)
    except (TypeError, NotImplementedError, ValueError, AttributeError):
        return None


def batch_size(loader: Any) -> int | None:
    """The batch size, also of a batch sampler that tells its own."""
    size = loader.batch_size
    if size is None:
        size = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else None


def kind(loader: Any) -> str:
    """In which order a loader reads its dataset."""
    from torch.utils import data

    if isinstance(loader.dataset, data.IterableDataset):
        return "iterable"
    sampler = innermost(loader)
    if isinstance(sampler, data.WeightedRandomSampler):
        return "weighted"
    if isinstance(sampler, data.RandomSampler | data.SubsetRandomSampler):
        return "random"
    if isinstance(sampler, data.SequentialSampler):
        return "sequential"
    if isinstance(sampler, data.DistributedSampler):
        return "random" if sampler.shuffle else "sequential"
    return "other"


def innermost(loader: Any) -> Any:
    """The sampler of single rows, below batch samplers and their wrappers."""
    from torch.utils.data import BatchSampler

    sampler: Any = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    for _ in range(4):
        inside: Any = getattr(sampler, "batch_sampler", None)
        if type(sampler) is BatchSampler:
            sampler = sampler.sampler
        elif isinstance(inside, BatchSampler):
            sampler = inside
    return sampler


def whole(dataset: Any) -> tuple[Any, NDArray[np.int64] | None]:
    """The dataset below subsets, and which of its rows these pick (None: all)."""
    from torch.utils.data import Subset

    chain: list[Any] = []
    while isinstance(dataset, Subset) and len(chain) < 8:
        chain.append(dataset.indices)
        dataset = dataset.dataset
    if not chain:
        return dataset, None
    if any((length(indices) or 0) > INDICES for indices in chain):
        return dataset, None
    import numpy as np

    picked = np.asarray(chain.pop(), dtype=np.int64).reshape(-1)
    while chain:
        picked = picked[np.asarray(chain.pop(), dtype=np.int64).reshape(-1)]
    return dataset, picked


def indices(loader: Any) -> NDArray[np.int64] | None:
    """The rows of the base dataset that a loader can draw; None where that is not known."""
    import numpy as np
    from torch.utils import data

    size = length(loader.dataset)
    if size is None or size > INDICES or isinstance(loader.dataset, data.IterableDataset):
        return None
    picked = whole(loader.dataset)[1]
    rows = np.arange(size, dtype=np.int64) if picked is None else picked
    sampler = innermost(loader)
    if isinstance(sampler, data.SubsetRandomSampler):
        chosen = np.asarray([int(i) for i in sampler.indices], dtype=np.int64)
        return rows[chosen] if len(chosen) and chosen.max() < len(rows) else None
    if isinstance(sampler, data.WeightedRandomSampler):
        weights = sampler.weights.detach().cpu().numpy()
        return rows[np.flatnonzero(weights[: len(rows)] > 0)]
    if isinstance(sampler, data.RandomSampler | data.SequentialSampler):
        return rows
    return None


def handle(thing: Any) -> object:
    """A weak reference to a dataset; what takes none (a list) is not kept and equals nothing."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return None


def same(one: object, other: object) -> bool:
    """Whether two handles are of one dataset."""
    if not isinstance(one, weakref.ref) or not isinstance(other, weakref.ref):
        return False
    return one is other


def height(value: Any) -> int:
    """The number of rows of a batch: the first size of its first tensor."""
    tensor = first(value)
    return int(tensor.shape[0]) if tensor is not None and tensor.ndim else 0


def fits(call: Call, size: int) -> bool:
    """Whether a call can be on the batch in hand: as many rows, a multiple or a fraction."""
    tensor = first(call.args) if call.args else first(call.kwargs)
    if tensor is None or not size or not tensor.ndim:
        return True
    rows = tensor.shape[0]
    return rows % size == 0 or size % rows == 0 or rows == height(call.batch and call.batch.value)


def first(value: Any, depth: int = 4) -> Tensor | None:
    """The first tensor in nested tuples, lists and mappings."""
    if hasattr(value, "ndim") and hasattr(value, "layout"):
        return value
    if depth and isinstance(value, tuple | list):
        items: Any = value
    elif depth and hasattr(value, "values") and hasattr(value, "keys"):
        items = value.values()
    else:
        return None
    for item in items:
        found = first(item, depth - 1)
        if found is not None:
            return found
    return None


def variable(place: Place | None) -> str:
    """The name that the constructing line binds ("test_loader"), or empty."""
    if place is None:
        return ""
    found = NAMED.match(linecache.getline(os.path.abspath(place.file), place.line))
    return found[1] if found else ""


# -- random generators that loader workers copy ------------------------------------------------


def generators(loader: Any) -> Iterator[str]:
    """Generators on the dataset, its transforms or the module that fetching a sample uses."""
    dataset = whole(loader.dataset)[0]
    seen: set[int] = set()
    for owner, label in parts(dataset, type(dataset).__name__, seen):
        codes = list(fetching(owner))
        names = {name for code in codes for name in code.co_names}
        if "get_worker_info" in names:
            return
        for name, value in vars(owner).items():
            if is_generator(value) and (name in names or not codes):
                yield f"{label}.{name}"
        for name in sorted(names):
            if is_generator(spaces(owner).get(name)):
                yield name


def parts(thing: Any, label: str, seen: set[int], depth: int = 3) -> Iterator[tuple[Any, str]]:
    """An object and the objects it holds that can be called (transforms), or are datasets."""
    if id(thing) in seen or not hasattr(thing, "__dict__") or isinstance(thing, type):
        return
    seen.add(id(thing))
    yield thing, label
    if not depth:
        return
    for name, value in list(vars(thing).items()):
        for item in value if isinstance(value, list | tuple) and len(value) <= 32 else [value]:
            if (callable(item) or hasattr(item, "__getitem__")) and not hasattr(item, "layout"):
                yield from parts(item, f"{label}.{name}", seen, depth - 1)


def fetching(owner: Any) -> Iterator[CodeType]:
    """The code that runs when a sample is fetched from a dataset, or a transform is called."""
    if isinstance(owner, FunctionType):
        yield from nested(owner.__code__)
        return
    queue = ["__getitem__", "__getitems__", "__iter__", "__call__", "forward"]
    done: set[str] = set()
    while queue:
        name = queue.pop()
        function = getattr(
            getattr(type(owner), name, None), "__wrapped__", getattr(type(owner), name, None)
        )
        if name in done or not isinstance(function, FunctionType):
            continue
        done.add(name)
        for code in nested(function.__code__):
            yield code
            queue += code.co_names


def nested(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def spaces(owner: Any) -> dict[str, Any]:
    """The module globals (and closure) that an object's fetching code sees."""
    if isinstance(owner, FunctionType):
        cells = zip(owner.__code__.co_freevars, owner.__closure__ or (), strict=False)
        return {**owner.__globals__, **{name: contents(cell) for name, cell in cells}}
    function = vars(type(owner)).get("__getitem__") or vars(type(owner)).get("__call__")
    return function.__globals__ if isinstance(function, FunctionType) else {}


def contents(cell: Any) -> Any:
    """What a closure's cell holds, None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_generator(value: Any) -> bool:
    """Whether a value is a random generator with a state of its own."""
    import random

    import numpy as np
    import torch

    return isinstance(
        value, np.random.Generator | np.random.RandomState | random.Random | torch.Generator
    )
