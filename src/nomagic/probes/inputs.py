"""What really enters the network: the tensor that goes into its first layer with weights.

Taken at looked ticks, in training and in evaluation; for each column (feature or channel) of the
first few thousand rows. Where the first layer is a norm or an embedding, the row says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.batches import wrapped
from nomagic.probes.loaders import Loaders, first
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Call, Layer
from nomagic.words import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

ENTRIES = 32
"""First layers followed; an ensemble or folds have one each."""
POOL = 4_096
"""Rows kept of one entry (positions of an image, steps of a sequence count as rows)."""
PER_LOOK = 512
"""Rows taken from one batch."""
WIDE = 1_024
"""Columns kept of a wider input, evenly spread."""
FINITE = 2_000_000
"""Values of a batch that are searched for NaN and infinity."""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature or channel.

    ``typical`` is the median of the absolute values that are not zero,
    ``levels`` the number of different values, ``common`` the share of the most frequent one; of
    the ``others``, how many there are, ``stretch`` is the largest distance from it in median
    distances. ``outlying`` is the largest distance from the median in interquartile ranges, and
    ``rest`` the same without the outermost 1 % of rows; ``repeated`` says that the outermost
    values are one number.
    """

    index: int
    mean: float
    std: float
    low: float
    high: float
    typical: float = math.nan
    skew: float = 0.0
    levels: int = 0
    common: float = 0.0
    others: int = 0
    stretch: float = 0.0
    outlying: float = 0.0
    rest: float = 0.0
    repeated: bool = False

    @property
    def discrete(self) -> bool:
        """Whether the column holds a few values: a constant, a flag, a one-hot code, a count."""
        return self.levels <= 8


@dataclass(frozen=True, slots=True)
class Input:
    """What enters one first layer: ``kind`` is ``weights``, ``norm`` or ``embedding``.

    ``place`` is the line of the outermost call, ``layer`` the first layer's name, ``normed`` that a
    norm follows it. ``rms``, ``low``, ``high`` and ``bulk`` (90 % of the absolute values stay
    below) are of all values seen in training; the ``held_`` ones of evaluations. ``broken`` of
    ``looked`` training batches held NaN or infinity, ``ruined`` says that the loss was not finite
    in such a tick.
    """

    place: Place | None
    kind: str
    layer: str = ""
    type: str = ""
    built: Place | None = None
    loader: int = -1
    normed: bool = False
    floating: bool = True
    spatial: bool = False
    shape: tuple[int, ...] = ()
    rows: int = 0
    looked: int = 0
    broken: int = 0
    broken_rows: int = 0
    ruined: bool = False
    rms: float = math.nan
    bulk: float = math.nan
    low: float = math.nan
    high: float = math.nan
    held_looks: int = 0
    held_rows: int = 0
    held_bulk: float = math.nan
    held_low: float = math.nan
    held_high: float = math.nan
    held_place: Place | None = None
    held_loader: int = -1
    columns: tuple[Column, ...] = ()


@dataclass(slots=True, eq=False)
class _Input:
    """An entry in the making."""

    facts: dict[str, Any]
    pool: list[Any] = field(default_factory=list[Any])
    held: list[Any] = field(default_factory=list[Any])
    rows: int = 0
    held_rows: int = 0
    looked: int = 0
    held_looks: int = 0
    broken: int = 0
    broken_rows: int = 0
    ruined: bool = False
    held_place: Place | None = None
    held_loader: int = -1
    loaders: list[int] = field(default_factory=list[int])


class Inputs(Probe[Input]):
    """What enters the first layer of each network that is trained.

    ``lost`` says that the loss ended as NaN or infinity.
    """

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Loaders,)

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._inputs: dict[tuple[int, int], _Input] = {}
        self._call: Any = None
        self._output: Any = None
        self._current: _Input | None = None
        self._waiting: list[tuple[_Input, Call, Any]] = []
        self._loss: Any = None
        self.lost = False

    def on_layer(self, layer: Layer) -> None:
        """A layer ended: take its input if it is the first with weights in its outermost call."""
        call = layer.call
        if call is None:
            return
        if call is self._call:
            self._follows(layer)
            return
        kind, tensor = role(layer.module), given(layer.args)
        if kind is not None and tensor is not None:
            self._begins(layer, call, kind, tensor)

    def _begins(self, layer: Layer, call: Call, kind: str, tensor: Tensor) -> None:
        """The first layer with weights: take some of what it was given."""
        self._call, self._output = call, given((layer.output,))
        loaders = self.run.probe(Loaders)
        key = (loaders.stretch(call.module)[0], loaders.stretch(layer.module)[0])
        entry = self._inputs.get(key)
        if entry is None:
            if not call.grads or len(self._inputs) >= ENTRIES:
                return
            entry = self._inputs[key] = _Input(self._facts(layer, call, kind, tensor))
        self._current = entry
        if call.grads:
            room = entry.rows < (POOL if len(self._inputs) <= 4 else POOL // 8)
            self._waiting.append((entry, call, values(tensor, layer.module, room)))
        elif entry.held_rows < POOL // 4:
            self._waiting.append((entry, call, values(tensor, layer.module)))

    def _facts(self, layer: Layer, call: Call, kind: str, tensor: Tensor) -> dict[str, Any]:
        return {
            "place": call.place,
            "kind": kind,
            "layer": self.run.name(layer.module) or type(layer.module).__name__,
            "type": type(layer.module).__name__,
            "built": self.run.built(layer.module),
            "floating": tensor.is_floating_point(),
            "spatial": "Conv" in type(layer.module).__name__,
            "shape": tuple(tensor.shape),
            "normed": False,
        }

    def _follows(self, layer: Layer) -> None:
        """The layer after the first one: a norm makes the input's scale matter less."""
        output, self._output = self._output, None
        if output is not None and self._current is not None and role(layer.module) == "norm":
            tensor = given(layer.args)
            if tensor is not None and (tensor is output or tensor.data_ptr() == output.data_ptr()):
                self._current.facts["normed"] = True

    def on_call(self, call: Call) -> None:
        """The outermost call ended; in an evaluation what entered is counted now."""
        self._call = self._output = None
        if not call.grads:
            waiting, self._waiting = self._waiting, []
            for entry, _, array in waiting:
                self._evaluated(entry, call, array)

    def on_backward(self, backward: Backward) -> None:
        """Gradients flow: what entered in this tick was for training."""
        self._loss = backward.loss.detach()
        waiting, self._waiting = self._waiting, []
        broken: list[_Input] = []
        for entry, _, array in waiting[-8:]:
            if self._trained(entry, array):
                broken.append(entry)
        if broken and not math.isfinite(float(backward.loss.detach().float().sum())):
            for entry in broken:
                entry.ruined = True

    def _trained(self, entry: _Input, array: Any) -> bool:
        if array is None:
            return False
        entry.looked += 1
        current = self.run.probe(Loaders).current
        entry.loaders.append(current.number if current is not None else -1)
        rows, bad = array
        if bad:
            entry.broken += 1
            entry.broken_rows += bad
        entry.pool.append(rows)
        entry.rows += len(rows)
        return bool(bad)

    def _evaluated(self, entry: _Input, call: Call, array: Any) -> None:
        if array is None or not entry.looked or not len(array[0]):
            return
        entry.held_looks += 1
        if entry.held_place is None:
            current = self.run.probe(Loaders).current
            entry.held_place = call.place
            entry.held_loader = current.number if current is not None else -1
        entry.held.append(array[0])
        entry.held_rows += len(array[0])

    def on_end(self) -> None:
        """The script is over: plain rows."""
        self.rows += [_row(entry) for entry in self._inputs.values() if entry.looked]
        loss, self._loss = self._loss, None
        if loss is not None and not wrapped(loss):
            self.lost = not math.isfinite(float(loss.float().sum()))
        self._inputs.clear()
        self._waiting.clear()
        self._call = self._output = self._current = None
        if not self.rows and self.run.compiled:
            self.trouble = "the model is compiled, its first layer cannot be seen"


def role(module: Any) -> str | None:
    """What a layer with parameters is: ``weights``, ``norm``, ``embedding``; None without."""
    name = type(module).__name__
    if "Norm" in name:
        return "norm"
    if "Embedding" in name:
        return "embedding"
    if any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False)):
        return "weights"
    return "weights" if name == "MultiheadAttention" else None


def given(args: Any) -> Tensor | None:
    """The first tensor that a layer was given, a packed sequence's data included."""
    tensor = first(args[0]) if args else None
    if tensor is None or not tensor.ndim or tensor.is_sparse or tensor.is_meta or wrapped(tensor):
        return None
    return tensor


def values(
    tensor: Tensor, module: Any, rows: bool = True
) -> tuple[NDArray[np.float32], int] | None:
    """Rows of an input, columns last (one, if there are enough), and its non-finite samples."""
    import torch

    if tensor.is_complex() or tensor.is_quantized or tensor.is_nested or not tensor.numel():
        return None
    moved = tensor.detach()
    if "Conv" in type(module).__name__ and moved.ndim >= 3:
        channels = moved.ndim - 1 - len(getattr(module, "kernel_size", (1,)))
        moved = moved.movedim(max(0, channels), -1)
    bad = 0
    if tensor.is_floating_point() and tensor.numel() <= FINITE:
        fine = torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(1)
        bad = len(tensor) - int(fine.sum())
    flat = moved.reshape(-1, moved.shape[-1]) if moved.ndim > 1 else moved.reshape(-1, 1)
    flat = flat[
        :: max(1, -(-len(flat) // PER_LOOK)) if rows else len(flat) + 1,
        :: max(1, -(-flat.shape[1] // WIDE)),
    ]
    return flat.to("cpu", torch.float32, copy=True).numpy(), bad


def _row(entry: _Input) -> Input:
    import numpy as np

    pool = joined(entry.pool)
    held = joined(entry.held)
    facts: dict[str, Any] = dict(entry.facts)
    finite = pool[np.isfinite(pool)]
    if len(finite):
        facts |= {
            "rms": math.sqrt(float((finite.astype(np.float64) ** 2).mean())),
            "bulk": bulk(finite),
            "low": float(finite.min()),
            "high": float(finite.max()),
        }
    finite = held[np.isfinite(held)]
    if len(finite):
        facts |= {
            "held_bulk": bulk(finite),
            "held_low": float(finite.min()),
            "held_high": float(finite.max()),
        }
    return Input(
        loader=max(set(entry.loaders), key=entry.loaders.count),
        rows=len(pool),
        looked=entry.looked,
        broken=entry.broken,
        broken_rows=entry.broken_rows,
        ruined=entry.ruined,
        held_looks=entry.held_looks,
        held_rows=len(held),
        held_place=entry.held_place,
        held_loader=entry.held_loader,
        columns=tuple(column(i, pool[:, i]) for i in range(pool.shape[1])),
        **facts,
    )


def bulk(x: NDArray[np.float32]) -> float:
    """What 90 % of the absolute values stay below; the root mean square where that is zero."""
    import numpy as np

    return float(np.quantile(np.abs(x), 0.9)) or math.sqrt(
        float((x.astype(np.float64) ** 2).mean())
    )


def joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The pieces of a pool below each other, those of another width left out."""
    import numpy as np

    fitting = [part for part in parts if part.shape[1] == parts[0].shape[1]]
    return np.concatenate(fitting) if fitting else np.zeros((0, 0), np.float32)


def column(index: int, seen: NDArray[np.float32]) -> Column:
    """The statistics of one column."""
    import numpy as np

    x = seen[np.isfinite(seen)].astype(np.float64)
    if not len(x):
        return Column(index, math.nan, math.nan, math.nan, math.nan)
    found, counts = np.unique(x, return_counts=True)
    common = float(counts.max()) / len(x)
    away = np.abs(x - found[counts.argmax()])
    away = away[away > 0]
    apart = x[x != 0]
    outlying, rest, repeated = outliers(x)
    return Column(
        index=index,
        mean=float(x.mean()),
        std=float(x.std()),
        low=float(found[0]),
        high=float(found[-1]),
        typical=float(np.median(np.abs(apart))) if len(apart) else math.nan,
        skew=skewness(x),
        levels=len(found),
        common=common,
        others=len(away),
        stretch=float(away.max() / np.median(away)) if len(away) else 0.0,
        outlying=outlying,
        rest=rest,
        repeated=repeated,
    )


def skewness(x: NDArray[np.float64]) -> float:
    """The third standardised moment; 0 for fewer than 100 values."""
    if len(x) < 100:
        return 0.0
    spread = float(x.std())
    return float((((x - x.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def outliers(x: NDArray[np.float64]) -> tuple[float, float, bool]:
    """The farthest value from the median in interquartile ranges, and what is known of it.

    The second is the farthest without the outermost 1 %, the third tells whether these outermost
    values are one repeated number.
    """
    import numpy as np

    low, middle, high = np.percentile(x, (25, 50, 75))
    if high <= low or len(x) < 100:
        return 0.0, 0.0, False
    distance = np.abs(x - middle) / (high - low)
    order = np.argsort(distance)
    out = max(1, len(x) // 100)
    rest = float(distance[order[-out - 1]])
    far = x[distance > max(10.0, 3 * rest)]
    return float(distance.max()), rest, len(far) >= 2 and bool((far == far[0]).all())
