"""The batches that training was fed: in which order, and whether they come again.

Each batch that enters a network on its way to a backward leaves a fingerprint of some 256 of its
values, a few microseconds a tick. The labels are those that the loss saved for its gradient, or the
loader's. A *feed* is one call line of one network in one stretch of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.loaders import Entry, Loaders, first, height
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Call, Op
from nomagic.probes.trace import tensors
from nomagic.words import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

FEEDS = 64
"""Feeds followed; folds and sweeps make one for each network."""
BATCHES = 10_000
"""Fingerprints kept of one feed: an epoch of more than half of that cannot be seen to come again.
"""
UNLOADED = 2_000
"""The same where no loader says when an epoch ends, so that every tick has to be looked at."""
EPOCHS = 4
"""Epochs of a loader that are followed; after these, nothing new is to be learnt of its order."""
LABELS = 30_000
"""Labels kept of one feed, in order."""
SAMPLED = 256
"""Values of a batch that its fingerprint takes in."""
EARLY = 20
"""Ticks in which form and origin of a batch are looked at."""
CUTS = frozenset(["__getitem__", "split", "chunk", "narrow", "index_select", "unbind"])
NODES = 60
"""Nodes of the graph in which the loss' target is searched."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels in the order of training.

    ``z`` is the runs test on them (order within a batch
    does not count): far below zero where equal labels follow each other. ``pure`` is the share
    that a batch's most frequent class has in it, on average, and ``chance`` the same after
    shuffling.
    """

    kind: str
    count: int
    classes: int
    batches: int
    z: float
    pure: float
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Feed:
    """The batches of one call line.

    ``period`` is the number of batches after which all come again
    in the same order (0: they do not), ``steps`` the optimizer steps in that time, ``again`` how
    many of the ``batches`` were seen before.

    ``cut`` is the line that cut the batch from a tensor, ``consecutive`` the share of batches that
    lie right behind the one before in memory. ``tokens``, ``carried``, ``windows``, ``recurrent``
    tell of series: token targets for each token, state handed from batch to batch, rows that are
    shifted copies of their neighbours, recurrent layers.
    """

    place: Place | None
    cut: Place | None = None
    loader: int = -1
    batches: int = 0
    rows: float = 0.0
    period: int = 0
    distinct: float = 1.0
    steps: float = 0.0
    again: int = 0
    consecutive: float = 0.0
    tokens: bool = False
    carried: bool = False
    windows: bool = False
    recurrent: bool = False
    labels: Labels | None = None


@dataclass(slots=True, eq=False)
class _Feed:
    """A feed in the making."""

    place: Place | None
    cut: Place | None = None
    loaders: dict[int, int] = field(default_factory=dict[int, int])
    prints: list[int] = field(default_factory=list[int])
    steps: list[int] = field(default_factory=list[int])
    samples: list[Any] = field(default_factory=list[Any])
    batches: int = 0
    rows: int = 0
    size: int = 0
    end: int = 0
    following: int = 0
    tokens: bool = False
    carried: bool = False
    windows: bool = False
    recurrent: bool = False
    integers: bool = False
    kind: str = ""
    labels: list[Any] = field(default_factory=list[Any])
    labelled: int = 0

    @property
    def label_full(self) -> bool:
        """Whether labels need not be read any more."""
        return self.tokens or self.labelled >= LABELS or len(self.labels) >= 4_000


@dataclass(slots=True)
class _Seen:
    """What one call of this tick was fed."""

    feed: _Feed
    print: int | None
    sample: Any
    rows: int
    start: int
    size: int
    loader: int


class Batches(Probe[Feed]):
    """What training was fed, one row for each call line of a network."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Loaders,)
    always: ClassVar[tuple[str, ...]] = ("on_call", "on_backward")

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._feeds: dict[tuple[Any, ...], _Feed] = {}
        self._tick: dict[Place | None, _Seen] = {}
        self._cuts: dict[int, tuple[Any, Place | None, Any]] = {}
        self._outputs: set[int] = set()
        self._made: set[int] = set()
        self._carried = False
        self._paths: dict[Place | None, tuple[int, ...] | None] = {}
        self._searches: dict[Place | None, int] = {}

    # -- calls --------------------------------------------------------------------------------

    def on_op(self, op: Op) -> None:
        """Early on: remember which line cuts batches from tensors."""
        if op.name in CUTS and not op.modules and self.run.tick < EARLY and len(self._cuts) < 200:
            source = op.args[0] if op.args else None
            for tensor in tensors(op.output, 1):
                self._cuts[id(tensor)] = (tensor, op.place, source)

    def cut(self, tensor: Any) -> tuple[Place | None, Any] | None:
        """Early on: the line that cut this live tensor, and the tensor it was cut from."""
        kept = self._cuts.get(id(tensor))
        return (kept[1], kept[2]) if kept is not None and kept[0] is tensor else None

    def on_call(self, call: Call) -> None:
        """A network was called: if gradients may follow, remember what went in."""
        loaders: Loaders = self.run.probe(Loaders)
        if not call.grads or not loaders.network:
            return
        if self.run.tick < EARLY:
            self._carry(call)
        entry = loaders.current
        if call.place in self._tick or len(self._tick) >= 4:
            return
        if entry is not None and entry.passes > EPOCHS:
            self.drowsy = True
            return
        tensor = first(call.args) if call.args else None
        tensor = tensor if tensor is not None else first(call.kwargs)
        if tensor is None or not tensor.ndim:
            return
        feed = self._feed((*loaders.stretch(call.module), call.place), call)
        self.drowsy = feed is None or feed.batches >= (BATCHES if entry is not None else UNLOADED)
        if feed is None or self.drowsy:
            return
        self._tick[call.place] = self._see(feed, tensor, call, entry)
        if self.run.tick < EARLY:
            self._form(feed, tensor)

    def on_wake(self) -> None:
        """Some ticks went by unheard: whether this one follows the last is not known."""
        for feed in self._feeds.values():
            feed.end = 0

    def _carry(self, call: Call) -> None:
        """Early on: see whether something that came out of the tick before is handed in again."""
        given = list(tensors((call.args, call.kwargs)))[1:]
        self._carried |= any(t.data_ptr() in self._outputs for t in given if not wrapped(t))
        self._made |= {t.data_ptr() for t in tensors(call.output) if not wrapped(t)}

    def _feed(self, key: tuple[Any, ...], call: Call | None) -> _Feed | None:
        feed = self._feeds.get(key)
        if feed is None and len(self._feeds) < FEEDS:
            feed = self._feeds[key] = _Feed(key[-1])
            feed.recurrent = call is not None and recurrent(call.module)
        return feed

    def _see(self, feed: _Feed, tensor: Tensor, call: Call, entry: Entry | None) -> _Seen:
        number = entry.number if entry is not None else -1
        on_host = tensor
        if tensor.device.type != "cpu" and entry is not None and call.batch is not None:
            on_host = first(call.batch.value)
            on_host = on_host if on_host is not None else tensor
        seen = _Seen(feed, None, None, int(tensor.shape[0]), 0, 0, number)
        if on_host.device.type == "cpu":
            seen.print = fingerprint(on_host)
            if number < 0 and seen.print is not None:
                seen.start, seen.size = tensor.data_ptr(), tensor.nbytes
        elif len(feed.samples) < 2_000 and self.run.clock.spare():
            seen.sample = sampled(on_host)
        return seen

    def _form(self, feed: _Feed, tensor: Tensor) -> None:
        """Early on: where the batch was cut, and whether it is part of a series."""
        cut = self.cut(tensor)
        if cut is not None:
            feed.cut = cut[0]
        feed.integers = not (tensor.is_floating_point() or tensor.is_complex())
        if tensor.device.type == "cpu" and not wrapped(tensor):
            feed.windows |= shifted(tensor)

    # -- backward -----------------------------------------------------------------------------

    def on_backward(self, backward: Backward) -> None:
        """Gradients flow: what was seen in this tick fed training."""
        if not self._tick and not backward.calls:
            self._uncalled(backward)
        for seen in self._tick.values():
            self._take(seen)
        if self._tick:
            self._label(backward)
            if self._carried:
                for seen in self._tick.values():
                    seen.feed.carried = True
            self._tick = {}
        if self._made:
            self._cuts = {}
            self._outputs, self._made, self._carried = self._made, set(), False

    def _uncalled(self, backward: Backward) -> None:
        """No network was called (the script is written with functions): take the loader's batch."""
        batch = self.run.batch
        entry = self.run.probe(Loaders).of(batch.loader) if batch is not None else None
        tensor = first(batch.value) if batch is not None and batch.epoch < EPOCHS else None
        self.drowsy = tensor is None
        if tensor is None or entry is None or tensor.device.type != "cpu":
            return
        feed = self._feed((0, 0, backward.place), None)
        if feed is not None and feed.batches < BATCHES:
            seen = _Seen(feed, fingerprint(tensor), None, height(tensor), 0, 0, entry.number)
            self._tick[backward.place] = seen

    def _take(self, seen: _Seen) -> None:
        feed = seen.feed
        if seen.print is not None:
            if feed.prints and feed.prints[-1] == seen.print:
                return
            feed.prints.append(seen.print)
            if seen.start and seen.start == feed.end:
                feed.following += 1
            feed.end = seen.start + seen.size
        elif seen.sample is not None:
            feed.samples.append(seen.sample)
        else:
            return
        feed.steps.append(self.run.steps)
        feed.batches += 1
        feed.rows += seen.rows
        feed.loaders[seen.loader] = feed.loaders.get(seen.loader, 0) + 1

    # -- labels -------------------------------------------------------------------------------

    def _label(self, backward: Backward) -> None:
        feeds = [seen.feed for seen in self._tick.values()]
        seen = next((s for s in self._tick.values() if not s.feed.label_full), None)
        batch = self.run.batch
        if seen is None or (seen.loader >= 0 and batch is not None and batch.epoch):
            return
        feed = seen.feed
        target = self._target(backward)
        if target is None:
            target = batch_labels(batch, seen.rows)
        if target is None or wrapped(target):
            return
        if any(s.feed.integers and target.numel() > s.rows for s in self._tick.values()):
            for other in feeds:
                other.tokens = True
            return
        kind, labels = as_labels(target, seen.rows)
        if labels is None:
            return
        feed.kind = feed.kind or kind
        feed.labels.append(labels)
        feed.labelled += seen.rows

    def _target(self, backward: Backward) -> Tensor | None:
        """The target that the loss saved for its gradient, searched once a backward line."""
        place, root = backward.place, backward.loss.grad_fn
        path = self._paths.get(place)
        node = follow(root, path) if path is not None else None
        if node is None:
            tries = self._searches.get(place, 0)
            if tries >= 5:
                return None
            self._searches[place] = tries + 1
            path = self._paths[place] = search(root)
            node = follow(root, path) if path is not None else None
        return saved(node) if node is not None else None

    # -- the end ------------------------------------------------------------------------------

    def on_end(self) -> None:
        """The script is over: plain rows."""
        self.rows += [_row(feed) for feed in self._feeds.values() if feed.batches]
        self._feeds.clear()
        self._tick.clear()
        self._cuts.clear()
        self._outputs.clear()


def _row(feed: _Feed) -> Feed:
    prints = feed.prints or read(feed.samples)
    start, period = recurs(prints)
    cycle = prints[start : start + period] if period else prints
    steps = 0.0
    if period:
        steps = (feed.steps[-1] - feed.steps[start]) / max(1, len(prints) - 1 - start) * period
    return Feed(
        place=feed.place,
        cut=feed.cut,
        loader=max(feed.loaders, key=lambda number: feed.loaders[number]) if feed.loaders else -1,
        batches=feed.batches,
        rows=feed.rows / feed.batches,
        period=period,
        distinct=len(set(cycle)) / max(1, len(cycle)),
        steps=steps,
        again=len(prints) - len(set(prints)),
        consecutive=feed.following / max(1, feed.batches - 1),
        tokens=feed.tokens,
        carried=feed.carried,
        windows=feed.windows,
        recurrent=feed.recurrent,
        labels=describe(feed.labels, feed.kind) if feed.labels else None,
    )


# -- fingerprints ------------------------------------------------------------------------------


def fingerprint(tensor: Tensor) -> int | None:
    """A hash of some values of a tensor on the host, None where they cannot be had."""
    try:
        array = tensor.detach().numpy()
    except (RuntimeError, TypeError):
        return _plain_print(tensor)
    size = array.size
    step = max(1, size // SAMPLED) | 1
    if array.flags.c_contiguous:
        return hash((array.shape, array.reshape(-1)[::step].tobytes()))
    return hash((array.shape, array.flat[::step].tobytes()))


def _plain_print(tensor: Tensor) -> int | None:
    """Of a tensor that numpy has no type for (bfloat16)."""
    if wrapped(tensor) or tensor.is_sparse or tensor.is_quantized or tensor.is_meta:
        return None
    flat = tensor.detach().reshape(-1)[:: max(1, tensor.numel() // SAMPLED) | 1]
    return hash((tuple(tensor.shape), flat.float().numpy().tobytes()))


def sampled(tensor: Tensor) -> Tensor:
    """A few values of a tensor on a device, copied there, to be read at the end."""
    step = max(1, tensor.numel() // SAMPLED) | 1
    return tensor.detach().reshape(-1)[::step].clone()


def read(samples: Sequence[Tensor]) -> list[int]:
    """The fingerprints of samples kept on a device."""
    return [hash(sample.float().cpu().numpy().tobytes()) for sample in samples]


def wrapped(tensor: Any) -> bool:
    """Whether a tensor belongs to a function transform (vmap, grad), without values of its own."""
    import torch

    functorch: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    return bool(functorch._functorch.is_functorch_wrapped_tensor(tensor))


def recurs(prints: Sequence[int]) -> tuple[int, int]:
    """Where a sequence begins to come again, and after how many; (0, 0) if it does not.

    The whole second round must have been seen, and 98 of 100 must fit to the end.
    """
    seen: dict[int, int] = {}
    tries = 0
    for i, value in enumerate(prints):
        start = seen.get(value)
        if start is None or start > 3:
            seen.setdefault(value, i)
            continue
        period = i - start
        tries += 1
        compared = len(prints) - i
        if period > 1 and compared >= period:
            same = sum(a == b for a, b in zip(prints[i:], prints[start:], strict=False))
            if same >= 0.98 * compared:
                return start, period
        if tries >= 8:
            break
    return 0, 0


def shifted(tensor: Tensor) -> bool:
    """Whether each row of a batch is its neighbour moved on by one: windows of a series."""
    if tensor.ndim not in (2, 3) or min(tensor.shape[0], max(tensor.shape[1:])) < 4:
        return False
    for axis in range(1, tensor.ndim):
        long = tensor.shape[axis] - 1
        if long < 3:
            continue
        early = tensor[:-1].narrow(axis, 1, long)
        late = tensor[1:].narrow(axis, 0, long)
        if bool((early == late).all()) and not bool((early == early.flatten()[0]).all()):
            return True
    return False


def recurrent(module: Any) -> bool:
    """Whether a network has recurrent layers."""
    from torch import nn

    return any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in module.modules())


# -- targets -----------------------------------------------------------------------------------


def search(root: Any) -> tuple[int, ...] | None:
    """The way from a loss down its graph to the nearest function that saved a target."""
    queue: list[tuple[Any, tuple[int, ...]]] = [(root, ())]
    for _ in range(NODES):
        if not queue:
            return None
        node, path = queue.pop(0)
        if node is None:
            continue
        if saved(node) is not None:
            return path
        for i, (below, _) in enumerate(node.next_functions):
            queue.append((below, (*path, i)))
    return None


def follow(root: Any, path: tuple[int, ...]) -> Any:
    """The node at the end of a known way, None if the graph is another now."""
    node: Any = root
    for i in path:
        below = node.next_functions if node is not None else ()
        if i >= len(below):
            return None
        node = below[i][0]
    return node


def saved(node: Any) -> Tensor | None:
    """The target that a loss function saved, or the classes that a hand-written one picked."""
    target = getattr(node, "_saved_target", None)
    if target is not None:
        return target
    if node is None:
        return None
    name = node.name()
    if name == "IndexBackward0":
        picked = [index for index in node._saved_indices if index is not None]
        return picked[-1] if len(picked) > 1 else None
    return node._saved_index if name == "GatherBackward0" else None


def batch_labels(batch: Any, rows: int) -> Tensor | None:
    """The one tensor of a loader's batch that can be its class labels."""
    if batch is None:
        return None
    fitting = [
        tensor
        for tensor in tensors(batch.value)
        if tensor.ndim == 1 and tensor.shape[0] == rows and not tensor.is_floating_point()
    ]
    return fitting[0] if len(fitting) == 1 else None


def as_labels(target: Tensor, rows: int) -> tuple[str, NDArray[np.float64] | None]:
    """One number a row, and whether these are classes ("class") or quantities ("value")."""
    import numpy as np

    if target.device.type != "cpu" or target.shape[:1] != (rows,) or target.numel() > 100_000:
        return "", None
    try:
        array = (
            target.detach().float().numpy()
            if target.is_floating_point()
            else target.detach().numpy()
        )
    except (RuntimeError, TypeError):
        return "", None
    array = array.reshape(rows, -1).astype(np.float64)
    if array.shape[1] == 1:
        flat = array[:, 0]
        hard = not target.is_floating_point() or bool(np.isin(flat, (0.0, 1.0)).all())
        return ("class" if hard else "value"), flat
    one_hot = bool(np.isin(array, (0.0, 1.0)).all()) and bool((array.sum(1) == 1).all())
    return ("class", array.argmax(1).astype(np.float64)) if one_hot else ("", None)


# -- statistics of the order -------------------------------------------------------------------


def describe(batches: Sequence[NDArray[np.float64]], kind: str) -> Labels | None:
    """The order of labels over batches, in numbers."""
    import numpy as np

    values = np.concatenate(list(batches))
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    if kind == "value":
        middle = np.median(values)
        parts = [(part[np.isfinite(part)] > middle).astype(np.int64) for part in batches]
    else:
        parts = [part.astype(np.int64) for part in batches]
    if kind == "class" and len(np.unique(values)) > max(2, len(values) / 4):
        return None  # indices of samples, not classes
    codes = np.unique(np.concatenate(parts), return_inverse=True)[1]
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    parts = np.split(codes, cuts)
    own = np.random.Generator(np.random.PCG64(0))  # ours: the script's random state stays as it is
    mixed = np.concatenate(
        [own.permutation(part) for part in parts]
    )  # the order within a batch does not count
    return Labels(
        kind=kind,
        count=len(codes),
        classes=int(codes.max()) + 1,
        batches=len(parts),
        z=runs_z(mixed),
        pure=pure(parts),
        chance=pure(np.split(own.permutation(codes), cuts)),
    )


def runs_z(codes: NDArray[np.int64]) -> float:
    """The runs test for any number of classes: how many standard deviations from a random order."""
    import numpy as np

    n = len(codes)
    counts = np.bincount(codes).astype(np.float64)
    if n < 10 or (counts > 0).sum() < 2:
        return 0.0
    runs = 1 + int((codes[1:] != codes[:-1]).sum())
    squares, cubes = float((counts**2).sum()), float((counts**3).sum())
    mean = (n * (n + 1) - squares) / n
    variance = (squares * (squares + n * (n + 1)) - 2 * n * cubes - n**3) / (n**2 * (n - 1))
    return (runs - mean) / math.sqrt(variance) if variance > 0 else 0.0


def pure(parts: Sequence[NDArray[np.int64]]) -> float:
    """The mean share of a batch's most frequent class; tiny batches count together."""
    import numpy as np

    shares = [float(np.bincount(group).max()) / len(group) for group in _groups(parts)]
    return sum(shares) / len(shares) if shares else 0.0


def _groups(parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    import numpy as np

    typical = sorted(len(part) for part in parts)[len(parts) // 2]
    if typical >= 8:
        yield from (part for part in parts if len(part) >= 4)
        return
    codes = np.concatenate(list(parts))
    for i in range(0, len(codes) - 15, 16):
        yield codes[i : i + 16]
