"""In which mode each outermost module ran, in training and in evaluation passes.

Calls are grouped by module, line, grad mode, training flag and loader, so that a long run stays
small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Call, Op, Step
from nomagic.probes.trace import tensors
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

WALK = 20_000
"""Autograd nodes visited to see whether a call's output led to the loss."""

STRIDES = (1, 2, 3, 5, 11, 23, 47, 97, 199, 401, 809, 1_619, 3_251, 6_521, 13_043, 26_099)
"""Primes, each about twice the one before."""

SCORING = frozenset(
    [
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "hinge_embedding_loss",
        "soft_margin_loss",
        "poisson_nll_loss",
        "gaussian_nll_loss",
        "ctc_loss",
        "eq",
        "__eq__",
        "ne",
        "__ne__",
        "sub",
        "__sub__",
        "rsub",
        "__rsub__",
        "isclose",
    ]
)
"""Functions that hold an output against a target."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which a module was called, ``calls`` times.

    ``grads``: grad mode was on. ``training``: the module's own flag. ``dropouts`` and ``norms``
    name its parts that behave differently in training and were in training mode; ``idle`` names
    such parts in evaluation mode. ``trained``: its output led to a loss that was followed by an
    optimizer step. ``scored``: how many calls had their output held against an outside target.
    ``held_out``: the loader that fed it never fed training. ``repeated``: most of its evaluation
    calls had an input that came before within the same evaluation, as in MC dropout.
    """

    module: str
    place: Place | None
    grads: bool
    training: bool
    calls: int
    dropouts: tuple[str, ...]
    norms: tuple[str, ...]
    idle: tuple[str, ...]
    trained: bool
    trainable: bool
    scored: int
    held_out: bool
    labelled: bool
    repeated: bool
    first: int
    last: int


@dataclass(slots=True)
class _Group:
    module: str
    place: Place | None
    grads: bool
    training: bool
    loader: int
    trainable: bool
    first: int
    last: int = 0
    calls: int = 0
    looks: int = 0
    dropouts: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    connected: bool = False
    trained: bool = False
    scored: int = 0
    labelled: bool = False
    repeated: int = 0
    evaluated: int = 0


class Modes(Probe[Mode]):
    """The modes in which outermost modules were called."""

    windows: ClassVar[tuple[str, ...]] = ("on_call",)

    def __init__(self, rows: Iterable[Mode] = ()) -> None:
        super().__init__(rows)
        self._groups: dict[tuple[Any, ...], _Group] = {}
        self._parts: dict[int, list[tuple[str, str, nn.Module]]] = {}
        self._derived: dict[int, tuple[Tensor, _Group]] = {}
        self._tick = -1
        self._inputs: dict[int, tuple[Any, ...]] = {}
        self._waiting: list[_Group] = []

    def on_enter(self, call: Call) -> None:
        """A pass with gradients, or a new tick, ends the window in which evaluation outputs are
        followed.
        """
        if call.grads or call.tick != self._tick:
            self._tick = call.tick
            self._derived.clear()
            self._inputs.clear()

    def on_call(self, call: Call) -> None:
        """Count the call; at looked calls, see its parts and follow its output."""
        module = call.module
        loader = id(call.batch.loader) if call.batch is not None else 0
        key = (id(module), call.place, call.grads, module.training, loader)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= 500:
                return
            group = self._groups[key] = self._new(call, loader)
        group.calls += 1
        group.last = call.tick
        if group.looks < 50 and (not call.grads or self.run.looking):
            self._look(group, call)

    def _new(self, call: Call, loader: int) -> _Group:
        module = call.module
        name = self.run.name(module) or type(module).__name__
        trainable = any(p.requires_grad for p in module.parameters())
        return _Group(name, call.place, call.grads, module.training, loader, trainable, call.tick)

    def _look(self, group: _Group, call: Call) -> None:
        group.looks += 1
        parts = self._parts.get(id(call.module))
        if parts is None:
            parts = self._parts[id(call.module)] = list(mode_dependent(call.module))
        group.dropouts = tuple(n for n, kind, m in parts if kind == "dropout" and m.training)
        group.norms = tuple(n for n, kind, m in parts if kind == "norm" and m.training)
        group.idle = tuple(n for n, _, m in parts if not m.training)
        if call.grads:
            return
        self._derived.update({id(t): (t, group) for t in tensors(call.output)})
        group.labelled = group.labelled or self._labelled(call)
        first = next(tensors((call.args, call.kwargs)), None)
        if first is not None:
            print_ = fingerprint(first)
            seen = self._inputs.setdefault(id(call.module), ())
            group.repeated += print_ in seen
            group.evaluated += 1
            if len(seen) < 200:
                self._inputs[id(call.module)] = (*seen, print_)

    @staticmethod
    def _labelled(call: Call) -> bool:
        """Whether the loader's batch holds a tensor besides what entered the model."""
        if call.batch is None:
            return False
        given = {tuple(t.shape) for t in tensors((call.args, call.kwargs))}
        held = list(tensors(call.batch.value))
        return len(held) > len(given) and any(tuple(t.shape) in given for t in held)

    def on_op(self, op: Op) -> None:
        """Follow evaluation outputs until they are held against a target."""
        if op.grads or not self._derived or op.modules:
            return
        hit = next(
            (self._derived[id(value)] for value in op.args if id(value) in self._derived), None
        )
        if hit is None:
            return
        others = [t for t in tensors((op.args, op.kwargs)) if id(t) not in self._derived]
        if op.name in SCORING and any(t.ndim and not t.requires_grad for t in others):
            hit[1].scored += 1
        if len(self._derived) < 500:
            self._derived.update({id(t): (t, hit[1]) for t in tensors(op.output)})

    def on_backward(self, backward: Backward) -> None:
        """See which calls of the tick led to the loss."""
        undecided: list[tuple[_Group, Call]] = []
        for call in backward.calls:
            loader = id(call.batch.loader) if call.batch is not None else 0
            key = (id(call.module), call.place, call.grads, call.module.training, loader)
            group = self._groups.get(key)
            if group is not None and not group.connected:
                undecided.append((group, call))
        if undecided:
            reached = upstream(backward.loss)
            for group, call in undecided:
                group.connected = any(t.grad_fn in reached for t in tensors(call.output))
        self._waiting = [
            group for group in self._groups.values() if group.connected and not group.trained
        ]

    def on_step(self, step: Step) -> None:
        """A step follows: what led to the loss was training."""
        for group in self._waiting:
            group.trained = True
        self._waiting = []

    def on_end(self) -> None:
        """Turn the groups into rows."""
        fed = {group.loader for group in self._groups.values() if group.connected and group.loader}
        self.rows.extend(
            Mode(
                g.module, g.place, g.grads, g.training, g.calls, g.dropouts, g.norms, g.idle,
                g.trained, g.trainable, g.scored, bool(g.loader) and g.loader not in fed,
                g.labelled, g.repeated > 0.6 * g.evaluated, g.first, g.last,
            )
            for g in self._groups.values()
        )  # fmt: skip
        self._groups.clear()
        self._parts.clear()
        self._derived.clear()
        self._waiting = []


def mode_dependent(root: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """The parts of a module that behave differently in training: name, "dropout" or "norm",
    module.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
    from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

    for name, module in root.named_modules():
        label = name or type(module).__name__
        if isinstance(module, _DropoutNd):
            if module.p > 0:
                yield label, "dropout", module
        elif isinstance(module, _NormBase):
            if module.track_running_stats:
                yield label, "norm", module
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0:
            yield label, "dropout", module


def upstream(loss: Tensor, limit: int = WALK) -> set[Any]:
    """The autograd nodes that a loss depends on."""
    seen: set[Any] = set()
    queue: list[Any] = [loss.grad_fn]
    while queue and len(seen) < limit:
        node = queue.pop()
        if node is not None and node not in seen:
            seen.add(node)
            queue.extend(following for following, _ in node.next_functions)
    return seen


def fingerprint(tensor: Tensor) -> tuple[Any, ...]:
    """A few values spread over a tensor, with its shape and sum: equal for equal contents.

    The stride is prime, so that it does not fall on the same column of every row.
    """
    import torch

    flat = tensor.detach().reshape(-1)
    some = flat[:: next((p for p in STRIDES if p * 64 >= flat.numel()), STRIDES[-1])][:64]
    total = flat[:65_536].sum(dtype=torch.float64 if not flat.is_complex() else None)
    return (tuple(tensor.shape), str(total.item()), tuple(some.cpu().tolist()))
