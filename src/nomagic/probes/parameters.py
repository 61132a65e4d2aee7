"""Every parameter that a run trains or could train: its owner, its gradient, and how far it moves.

All of it is seen in looked ticks only: whether gradients arrive, and, at the steps of the optimizer
that owns it, the norms of gradient, weight and update over the same sample of its numbers.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.optimizers import Optimizers, number
from nomagic.probes.probe import Probe
from nomagic.probes.run import DENSE, Backward, Step
from nomagic.probes.sampling import heads, leaves, norms, ordinary, sample
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

MOST = 2_000
"""Parameters of one run that are listed."""
MEASURED = 200
"""Parameters of one optimizer whose norms are taken, spread over its list."""
LOOKS = 200
"""Looks kept of one parameter; when more have come, every other one is let go."""
ROWS, COLUMNS = 64, 1_024
"""The part of a weight matrix that is searched for identical rows."""
LARGEST = 4_000_000
"""Larger tensors are not searched."""
EVEN = 64
"""Numbers from which on an even spread can be told from another."""
SETTLED = 20
"""Steps after which units that were to part have parted."""
APART = 1e-3
"""Twins have moved together when they differ by less than this part of their way."""


@dataclass(frozen=True, slots=True)
class Moves:
    """One looked step: the norms over the sample, and the rate of its group."""

    tick: int
    step: int
    gradient: float
    weight: float
    update: float
    rate: float


@dataclass(frozen=True, slots=True)
class Twins:
    """Of ``rows`` searched, so many were copies of another at the ``start``.

    ``end`` of them had moved and were still copies after ``step`` steps. ``zero``: the whole matrix
    was and is zero, and so was its gradient whenever it was seen. ``gap`` is how far apart the
    copies are by then, as a part of the way they went; ``blank``: the matrix began at zero.
    """

    rows: int
    start: int
    end: int
    step: int
    zero: bool = False
    gap: float = math.nan
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """One parameter.

    ``module`` and ``kind`` are the name and class of the module that holds it, ``built`` the
    line that made that module; ``registered``: an outermost module of the training passes lists
    it. ``optimizers`` are numbers in `Optimizers`. Of ``backwards`` looked at since it was
    first seen, ``gradients`` left a gradient in it that is not zero and ``zeros`` one that is,
    the ``last`` of either at that tick; ``moved``: its values changed since then. ``fresh``: at
    first they looked like PyTorch's initial draw (None: too few to tell). ``root`` numbers the
    outermost modules, -1 where none lists it. ``output``: no other weight matrix stands between
    it and the loss. ``filled``: where nn.init gave all of it one value. ``sampled``: how many
    of its numbers the norms are taken over.
    """

    name: str
    module: str = ""
    kind: str = ""
    built: Place | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    trainable: bool = True
    registered: bool = True
    root: int = -1
    optimizers: tuple[int, ...] = ()
    backwards: int = 0
    gradients: int = 0
    zeros: int = 0
    last: int = -1
    moved: bool = False
    fresh: bool | None = None
    output: bool = False
    embedding: bool = False
    filled: Place | None = None
    sampled: int = 0
    looks: tuple[Moves, ...] = ()
    twins: Twins | None = None

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(slots=True)
class _Live:
    parameter: weakref.ref[Tensor]
    name: str
    module: str
    kind: str
    built: Place | None
    shape: tuple[int, ...]
    dtype: str
    registered: bool
    root: int
    first: Any
    fresh: bool | None
    embedding: bool
    filled: Place | None = None
    trainable: bool = True
    optimizers: set[int] = field(default_factory=set[int])
    backwards: int = 0
    gradients: int = 0
    zeros: int = 0
    last: int = -1
    moved: bool = False
    output: bool = False
    looks: list[Moves] = field(default_factory=list[Moves])
    spacing: int = 1
    copies: _Copies | None = None

    def add(self, moves: Moves) -> None:
        """Keep a look, the oldest dense and the later ones thinned."""
        if moves.step > DENSE and moves.step // 10 % self.spacing:
            return
        self.looks.append(moves)
        if len(self.looks) > LOOKS:
            self.looks = self.looks[:DENSE] + self.looks[DENSE::2]
            self.spacing *= 2

    def row(self) -> Weight:
        """All of it as plain values."""
        copies = self.copies
        return Weight(
            name=self.name,
            module=self.module,
            kind=self.kind,
            built=self.built,
            shape=self.shape,
            dtype=self.dtype,
            trainable=self.trainable,
            registered=self.registered,
            root=self.root,
            optimizers=tuple(sorted(self.optimizers)),
            backwards=self.backwards,
            gradients=self.gradients,
            zeros=self.zeros,
            last=self.last,
            moved=self.moved,
            fresh=self.fresh,
            output=self.output,
            embedding=self.embedding,
            filled=self.filled,
            sampled=self.first.numel() if self.first is not None else 0,
            looks=tuple(self.looks),
            twins=copies.row() if copies is not None else None,
        )


@dataclass(slots=True)
class _Copies:
    """Rows that were copies at the start, each with the first of its kind, and all as they were."""

    rows: int
    start: int
    pairs: list[tuple[int, int]]
    values: Any
    zero: bool
    end: int = 0
    step: int = 0
    gap: float = math.nan

    def row(self) -> Twins:
        """All of it as plain values."""
        blank = not bool(self.values.any())
        return Twins(self.rows, self.start, self.end, self.step, self.zero, self.gap, blank)


@dataclass(slots=True)
class _Pending:
    """A parameter that is about to be stepped."""

    live: _Live
    parameter: Tensor
    rate: float
    before: Tensor
    gradient: float = 0.0


class Parameters(Probe[Weight]):
    """One row for each parameter; ``by_grad``: torch.autograd.grad gave gradients, unseen by us."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Optimizers,)

    def __init__(self, rows: Iterable[Weight] = ()) -> None:
        super().__init__(rows)
        self.by_grad = False
        self._live: dict[int, _Live] = {}
        self._past: list[_Live] = []
        self._places: dict[Place | None, int] = {}
        self._changed = True
        self._roots = 0
        self._pending: list[_Pending] = []
        self._filled: dict[tuple[int, tuple[int, ...]], Place | None] = {}

    def on_fill(self, tensor: Tensor, place: Place | None) -> None:
        """A tensor was filled with one value; where, if it is a weight matrix."""
        if tensor.dim() > 1 and place is not None and ordinary(tensor) and len(self._filled) < MOST:
            self._filled[tensor.data_ptr(), tensor.shape] = place

    def on_module(self, module: nn.Module, place: Place | None) -> None:
        """A module was constructed: it may have taken another's place."""
        self._changed = True

    def on_optimizer(self, optimizer: Optimizer, place: Place | None) -> None:
        """An optimizer was constructed."""
        self._changed = True

    # -- who is there -----------------------------------------------------------------------

    def on_backward(self, backward: Backward) -> None:
        """Meet the parameters of the modules, of the optimizers, and of the first graphs."""
        self.by_grad = self.by_grad or backward.by_grad
        count = self._places.get(backward.place, 0)
        reached: list[Tensor] = []
        if count < 3 and len(self._places) < 16:
            self._places[backward.place] = count + 1
            reached = leaves(backward.loss)
        self._meet(reached)
        if count == 0:
            for weight in heads(backward.loss):
                live = self._of(weight)
                if live is not None:
                    live.output = True

    def _meet(self, reached: Sequence[Tensor]) -> None:
        roots = self.run.roots()
        if self._changed or len(roots) != self._roots:
            self._changed, self._roots = False, len(roots)
            self._meet_modules(roots)
            self._meet_optimizers(list(self.run.probe(Optimizers).alive()))
        strangers = [leaf for leaf in reached if self._of(leaf) is None]
        if strangers:
            self._meet_strangers(strangers)

    def _meet_modules(self, roots: Sequence[nn.Module]) -> None:
        for live in self._live.values():
            if live.parameter() is not None:
                live.registered = False
        for index, root in enumerate(roots):
            for name, module in root.named_modules():
                for parameter in module.parameters(recurse=False):
                    self._add(parameter, module, index, name)

    def _meet_optimizers(self, optimizers: Sequence[tuple[int, Optimizer]]) -> None:
        lost = [
            parameter
            for _, optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
            if self._of(parameter) is None
        ]
        self._meet_strangers(lost)
        for index, optimizer in optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    live = self._of(parameter)
                    if live is not None:
                        live.optimizers.add(index)

    def _meet_strangers(self, strangers: Sequence[Tensor]) -> None:
        """Meet parameters that no outermost module lists, and the modules that hold them."""
        wanted = {id(parameter) for parameter in strangers}
        holders: dict[int, nn.Module] = {}
        for module in self.run.constructed() if wanted else ():
            for parameter in module.parameters(recurse=False):
                if id(parameter) in wanted:
                    holders[id(parameter)] = module
        for parameter in strangers:
            self._add(parameter, holders.get(id(parameter)), -1, "")

    def _of(self, parameter: Tensor) -> _Live | None:
        live = self._live.get(id(parameter))
        return live if live is not None and live.parameter() is parameter else None

    def _add(self, parameter: Tensor, module: nn.Module | None, root: int, path: str) -> None:
        known = self._of(parameter)
        if known is not None:
            if root >= 0:
                known.registered, known.root = True, root
            return
        if not ordinary(parameter) or len(self._live) + len(self._past) >= MOST:
            return
        old = self._live.get(id(parameter))
        if old is not None:
            self._past.append(old)
        kind = type(module).__name__ if module is not None else ""
        embedding = "Embedding" in kind
        live = _Live(
            parameter=weakref.ref(parameter),
            name=self.run.name(parameter) or _own_name(parameter, module, path),
            module=self.run.name(module) or path,
            kind=kind,
            built=self.run.built(module) if module is not None else None,
            shape=tuple(parameter.shape),
            dtype=str(parameter.dtype).removeprefix("torch."),
            registered=root >= 0,
            root=root,
            first=sample(parameter).clone(),
            fresh=None if embedding else _fresh(parameter),
            embedding=embedding,
            filled=self._filled.pop((parameter.data_ptr(), parameter.shape), None),
        )
        if not embedding:
            live.copies = _copies(parameter)
        self._live[id(parameter)] = live

    # -- gradients --------------------------------------------------------------------------

    def on_gradients(self, backward: Backward) -> None:
        """See which of them have a gradient."""
        with_gradient: list[tuple[_Live, Tensor]] = []
        for live in self._live.values():
            parameter = live.parameter()
            if parameter is None:
                continue
            live.backwards += 1
            live.last = backward.tick if parameter.grad is not None else live.last
            live.trainable = parameter.requires_grad
            live.moved = live.moved or _moved(live, parameter)
            if parameter.grad is None:
                continue
            if ordinary(parameter.grad):
                with_gradient.append((live, parameter.grad))
            else:
                live.gradients += 1
        for (live, _), size in zip(
            with_gradient, norms([grad for _, grad in with_gradient]), strict=True
        ):
            live.zeros += size == 0
            live.gradients += size != 0

    # -- steps ------------------------------------------------------------------------------

    def on_before_step(self, step: Step) -> None:
        """Keep what is needed to see how far the step goes."""
        self._pending = []
        grads: list[Tensor] = []
        for parameter, rate in _spread(step.optimizer):
            live = self._of(parameter)
            if live is None or parameter.grad is None or not ordinary(parameter.grad):
                continue
            grads.append(sample(parameter.grad))
            self._pending.append(_Pending(live, parameter, rate, sample(parameter).clone()))
            if live.copies is not None:
                _compare(live.copies, parameter, step.index)
        for pending, size in zip(self._pending, norms(grads), strict=True):
            pending.gradient = size

    def on_step(self, step: Step) -> None:
        """Take the norms of the weights before it and of what it added."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        before = [one.before for one in pending]
        after = [sample(one.parameter) for one in pending]
        if any(a.shape != b.shape for a, b in zip(after, before, strict=True)):
            return
        added = [a - b for a, b in zip(after, before, strict=True)]
        sizes = norms([*before, *added])
        for i, one in enumerate(pending):
            moves = Moves(
                step.tick, step.index, one.gradient, sizes[i], sizes[i + len(pending)], one.rate
            )
            one.live.moved = one.live.moved or moves.update > 0
            one.live.add(moves)

    # -- the end ----------------------------------------------------------------------------

    def on_end(self) -> None:
        """Turn them into rows."""
        every = [*self._past, *self._live.values()]
        for live in every:
            parameter = live.parameter()
            live.moved = live.moved or (parameter is not None and _moved(live, parameter))
        self.rows = [live.row() for live in every]
        self._live, self._past, self._pending, self._filled = {}, [], [], {}


def _moved(live: _Live, parameter: Tensor) -> bool:
    import torch

    now = sample(parameter)
    return now.device != live.first.device or not torch.equal(now.to(live.first.dtype), live.first)


def _own_name(parameter: Tensor, module: nn.Module | None, path: str) -> str:
    """What to call a parameter that no outermost module lists, or has listed only lately."""
    if module is None:
        return f"a tensor of shape {tuple(parameter.shape)}"
    own = (name for name, kept in module.named_parameters(recurse=False) if kept is parameter)
    return f"{path or type(module).__name__}.{next(own, 'parameter')}"


def _spread(optimizer: Optimizer) -> list[tuple[Tensor, float]]:
    """Some of an optimizer's parameters, all along its list, with their rates."""
    every = [
        (parameter, math.nan if (rate := number(group.get("lr"))) is None else rate)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    return every[:: math.ceil(len(every) / MEASURED)] if every else []


def _fresh(weight: Tensor) -> bool | None:
    """Whether a weight matrix is spread evenly over the range that PyTorch's layers draw from."""
    if weight.dim() < 2 or weight.numel() < EVEN:
        return None
    bound = 1 / math.sqrt(weight.numel() / weight.shape[0])
    drawn = sample(weight).float()
    most, spread = float(drawn.abs().max()), float(drawn.std())
    even = abs(spread / (bound / math.sqrt(3)) - 1) < (0.1 if drawn.numel() >= 256 else 0.2)
    return even and 0.9 * bound < most <= bound * (1 + 1e-3)


def _copies(weight: Tensor) -> _Copies | None:
    """The rows of a weight matrix that are copies of another, if there are any."""
    if weight.dim() < 2 or weight.numel() > LARGEST or weight.shape[0] < 2:
        return None
    rows = weight.detach().flatten(1)[:ROWS, :COLUMNS]
    if rows.shape[1] < 2:
        return None
    same = (rows[:, None, :] == rows[None, :, :]).all(2).tolist()
    pairs = [
        (i, first)
        for i, line in enumerate(same)
        if (first := next((j for j in range(i) if line[j]), -1)) >= 0
    ]
    if not pairs:
        return None
    zero = not bool(weight.detach().any())
    return _Copies(len(same), len(pairs), pairs, rows.clone(), zero)


def _compare(copies: _Copies, weight: Tensor, step: int) -> None:
    """See whether the copies have parted by now, and whether there was a gradient at all."""
    grad = weight.grad
    if copies.zero and grad is not None and (bool(grad.any()) or bool(weight.detach().any())):
        copies.zero = False
    if step > 2 * SETTLED and copies.step >= SETTLED:
        return
    rows = weight.detach().flatten(1)[:ROWS, :COLUMNS]
    way = (rows - copies.values).abs().amax(1).tolist()
    first = [other for _, other in copies.pairs]
    apart = (rows[[i for i, _ in copies.pairs]] - rows[first]).abs().amax(1).tolist()
    gaps = [gap / way[f] for f, gap in zip(first, apart, strict=True) if way[f] > 0]
    copies.end, copies.step = sum(gap <= APART for gap in gaps), step
    copies.gap = sorted(gaps)[len(gaps) // 2] if gaps else math.nan
