"""What was computed between a model's inputs and its loss, kept so that it can be computed again on a copy.

For each line that calls backward one tape is kept: the outermost module calls and the torch functions outside modules
that led to the loss, the modules as they were before, and the data. `nomagic.replay` runs it.
"""

from __future__ import annotations

import copy
import math
import random
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Call, Op, Run
from nomagic.probes.tree import OPAQUE, found, leaves, mapped
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST = 256 * 2**20
"""Bytes of parameters and buffers that are copied at most, and of data that are kept at most."""
LATE = 8 * 2**20
"""The same after the first ticks, when copying is paid from the overhead budget."""
FOLLOWED = 64 * 2**20
"""Bytes of parameters that are kept track of to the end of the run, for their final values."""
TAPES = 4
ATTEMPTS = 4
"""Ticks that are recorded for one line until it succeeds."""
STEPS = 5_000
"""Calls and functions on one tape."""
LATEST = 16
"""Last losses that are kept of a line."""
SHAPES = 32
"""Different shapes of a call's first input that are noted, and lines that they are noted for."""

RANDOM = frozenset(
    "rand randn randint rand_like randn_like randint_like normal normal_ uniform_ random_ bernoulli bernoulli_ multinomial "
    "poisson exponential_ cauchy_ log_normal_ geometric_ randperm sample rsample dropout".split()
)
PICKS = frozenset(
    "__getitem__ index_select gather take take_along_dim embedding masked_select".split()
)
"""Functions whose result is as random as what they pick from, not as the picks."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor that an earlier step made: the ``part``-th of its output."""

    step: int
    part: int


@dataclass(frozen=True, slots=True)
class Outside:
    """A tensor from outside: the ``index``-th of the tape's data."""

    index: int


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter that is used outside its module: the ``index``-th of the tape's weights."""

    index: int


Arg = Ref | Outside | Weight
"""What stands on a tape for a tensor."""


@dataclass(frozen=True, slots=True)
class Datum:
    """A tensor that came from outside: data, target, constant, hidden state.

    ``loaded`` when it came from a DataLoader (``collated``: that stacks samples along the first dimension),
    ``drawn`` when random numbers are part of its values, ``computed`` when a network's output without
    gradients is (a teacher's, a target network's).
    """

    value: Tensor
    loaded: bool = False
    collated: bool = False
    drawn: bool = False
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One call of an outermost module (``module`` is its index), or of a torch function outside modules (-1).

    ``modes`` are the training flags of the module and all its parts, ``casts`` the autocast that was on
    (device, dtype), ``random`` the states of the random generators before it, where they matter.
    """

    name: str
    module: int
    func: Any
    args: Any
    kwargs: Any
    grads: bool
    place: Place | None
    modes: tuple[bool, ...] = ()
    casts: tuple[tuple[str, Any], ...] = ()
    random: Any = None


@dataclass(frozen=True)
class Tape:
    """How one loss was computed: ``steps`` in order, the modules (copies, from before the first of them), the data.

    ``loss`` says where the loss is, ``value`` what it was. ``final`` holds the last values of all parameters and buffers
    of the run (in the order of `state`), or None where they are not known. ``built`` are the lines that constructed
    the modules, ``places`` those of their parts, by name; ``late`` is the loss near the end of the run.
    """

    place: Place | None
    tick: int
    value: float
    loss: Ref
    steps: tuple[Step, ...]
    modules: tuple[nn.Module, ...]
    weights: tuple[Tensor, ...]
    data: tuple[Datum, ...]
    built: tuple[Place | None, ...]
    places: tuple[dict[str, Place], ...] = ()
    originals: list[Tensor] = field(default_factory=lambda: [])
    final: list[Tensor] | None = None
    late: float = math.nan

    @property
    def model(self) -> int:
        """The step that calls the module with the most parameters (the last such call), or -1."""
        sizes = [sum(p.numel() for p in m.parameters()) for m in self.modules]
        best = max(sizes, default=0)
        calls = [
            i
            for i, step in enumerate(self.steps)
            if step.module >= 0 and sizes[step.module] == best
        ]
        return calls[-1] if calls and best else -1


def state(modules: Iterable[nn.Module], weights: Iterable[Tensor] = ()) -> list[Tensor]:
    """All parameters and buffers below these modules, each once, in order; then the loose weights."""
    tensors: dict[int, Tensor] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            tensors.setdefault(id(tensor), tensor)
    for weight in weights:
        tensors.setdefault(id(weight), weight)
    return list(tensors.values())


class CannotRecordError(Exception):
    """A tick that cannot be kept, and why."""


class Tapes(Probe[Tape]):
    """One tape for each line that calls backward, from one of its first looked ticks."""

    def __init__(self, rows: Iterable[Tape] = ()) -> None:
        super().__init__(rows)
        self._now: _Recording | None = None
        self._skip = False
        self._starts: set[Place | None] = set()
        self.shapes: dict[Place | None, set[tuple[int, ...]]] = {}
        self._losses: dict[Place | None, deque[tuple[int, Tensor]]] = {}
        self._tried: dict[Place | None, int] = {}

    # -- hearing --------------------------------------------------------------------------

    def on_enter(self, call: Call) -> None:
        """A module is called: copy it as it is before."""
        if call.grads:
            self._hear(call.place, lambda now: now.enter(call), live=True)

    def on_call(self, call: Call) -> None:
        """The call is over: it is a step."""
        if call.grads:
            self._note_shape(call)
            self._hear(call.place, lambda now: now.leave(call))
        elif self._now is not None:
            self._hear(call.place, lambda now: now.computed(call))

    def on_op(self, op: Op) -> None:
        """A function outside modules is a step if a weight or an earlier step is part of it."""
        if op.modules or self._skip or not self.run.looking:
            return
        if self._now is None:
            self._now = _Recording(self.run)
        if self._now.live(op):
            self._hear(op.place, lambda now: now.op(op), live=True)
        else:
            self._hear(op.place, lambda now: now.fact(op))

    def on_backward(self, backward: Backward) -> None:
        """The tick is over: keep what led to this loss, if this line's tape is not yet kept."""
        self._note_loss(backward)
        now, self._now, self._skip = self._now, None, len(self.rows) >= TAPES
        if now is None or not now.steps:
            return
        tried = self._tried.get(backward.place, 0)
        if tried < ATTEMPTS:
            try:
                self.rows.append(now.tape(backward))
                tried = ATTEMPTS
            except Exception as error:
                tried += 1
                self.trouble = self.trouble or _said(error)
            self._tried[backward.place] = tried
        if tried >= ATTEMPTS:
            self._starts.add(now.start)

    def on_end(self) -> None:
        """Keep the last values of the weights, let go of the weights themselves."""
        self._now = None
        for index, tape in enumerate(self.rows):
            final = [tensor.detach().clone() for tensor in tape.originals] or None
            late = self._late(tape.place)
            self.rows[index] = replace(tape, final=final, originals=[], late=late)
        self._losses.clear()
        if self.rows:
            self.trouble = ""
        elif not self.trouble:
            self.trouble = "no training pass could be recorded"

    def release(self) -> None:
        """The experiments are over: let go of everything."""
        self.rows.clear()

    # -- recording -------------------------------------------------------------------------

    def _hear(
        self, place: Place | None, act: Callable[[_Recording], None], live: bool = False
    ) -> None:
        if self._skip or not self.run.looking:
            return
        if self._now is None:
            self._now = _Recording(self.run)
        now = self._now
        if live and not now.steps and place in self._starts and now.start is None:
            self._drop()
            return
        if live and now.start is None:
            now.start = place
        try:
            act(now)
        except Exception as error:
            self.trouble = self.trouble or _said(error)
            self._starts.add(now.start)
            self._drop()

    def _note_loss(self, backward: Backward) -> None:
        if self.run.looking and len(self._losses) < SHAPES and backward.loss.numel() == 1:
            kept = self._losses.setdefault(backward.place, deque(maxlen=LATEST))
            kept.append((backward.tick, backward.loss.detach().clone()))

    def _late(self, place: Place | None) -> float:
        """The mean of the last losses, if they are from the last half of the run."""
        kept = [loss for tick, loss in self._losses.get(place, ()) if tick > self.run.tick / 2]
        return sum(float(loss) for loss in kept) / len(kept) if kept else math.nan

    def _note_shape(self, call: Call) -> None:
        shapes = self.shapes.setdefault(call.place, set())
        first = next(leaves(call.args), None)
        if first is not None and len(shapes) < SHAPES and len(self.shapes) < SHAPES:
            shapes.add(tuple(first.shape))

    def _drop(self) -> None:
        self._now, self._skip = None, True


def _said(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, CannotRecordError)
        else f"could not record: {type(error).__name__}: {error}"
    )


class _Recording:
    """One tick while it lasts."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.start: Place | None = None
        self.steps: list[Step] = []
        self._makers: dict[int, tuple[weakref.ref[Tensor], Ref]] = {}
        self._data: dict[int, tuple[Tensor, int, int]] = {}
        self._facts: dict[int, tuple[weakref.ref[Tensor], frozenset[str]]] = {}
        self._modules: dict[int, tuple[nn.Module, int]] = {}
        self._copies: list[nn.Module] = []
        self._memo: dict[int, Any] = {}
        self._entered: tuple[Call, Any, tuple[Any, ...]] | None = None
        self._before: Any = None
        self._size = 0
        self._batch: Any = None

    # -- calls and functions ---------------------------------------------------------------

    def enter(self, call: Call) -> None:
        self._loaded()
        index = self._copied(call.module)
        module = _inside(call.module)
        before = (
            index,
            tuple(part.training for part in module.modules()),
            _casts(),
            _random(),
        )
        self._entered = (call, self._packed(call.args), before)

    def leave(self, call: Call) -> None:
        entered, self._entered = self._entered, None
        if entered is None or entered[0] is not call:
            return
        _, args, (index, modes, casts, before) = entered
        kwargs = self._packed(call.kwargs)
        name = type(call.module).__name__
        step = Step(name, index, None, args, kwargs, True, call.place, modes, casts, before)
        self._add(step, call.output)

    def live(self, op: Op) -> bool:
        """Whether a weight or an earlier step is among what the function was given."""
        return any(
            (tensor.requires_grad and tensor.is_leaf) or self._ref(tensor) is not None
            for tensor in leaves((op.args, op.kwargs))
        )

    def op(self, op: Op) -> None:
        self._loaded()
        args, kwargs = self._packed(op.args), self._packed(op.kwargs)
        after = _random()
        before = None if self._before is None or _same(self._before, after) else self._before
        self._before = after
        self._add(
            Step(op.name, -1, op.func, args, kwargs, op.grads, op.place, (), _casts(), before),
            op.output,
        )

    def computed(self, call: Call) -> None:
        """What a network gives without gradients is data, but not given by the world."""
        for tensor in leaves(call.output):
            self._facts[id(tensor)] = (weakref.ref(tensor), frozenset({"computed"}))

    def fact(self, op: Op) -> None:
        """A function on data alone: what is known of its arguments is known of its result."""
        self._loaded()
        if op.name in RANDOM or self._before is None:
            self._before = _random()
        given = list(leaves(op.args))
        if op.name in PICKS:
            given = given[:1]
        facts: frozenset[str] = frozenset().union(*(self._known(tensor) for tensor in given))
        facts -= {"collated"} if op.name not in SAME else set()
        if op.name in RANDOM:
            facts |= {"drawn"}
        if facts:
            for tensor in leaves(op.output):
                self._facts[id(tensor)] = (weakref.ref(tensor), facts)

    def _add(self, step: Step, output: Any) -> None:
        if len(self.steps) >= STEPS:
            raise CannotRecordError(f"one pass takes more than {STEPS:,} calls")
        self.steps.append(step)
        for part, tensor in enumerate(leaves(output)):
            self._makers[id(tensor)] = (weakref.ref(tensor), Ref(len(self.steps) - 1, part))
        if step.module >= 0:
            self._before = _random()

    # -- tensors -----------------------------------------------------------------------------

    def _loaded(self) -> None:
        """Notice the batch that a loader handed out."""
        batch = self.run.batch
        if batch is None or batch is self._batch:
            return
        self._batch = batch
        facts = frozenset({"loaded", "collated"} if _collates(batch.loader) else {"loaded"})
        for tensor in leaves(batch.value):
            self._facts[id(tensor)] = (weakref.ref(tensor), facts)

    def _known(self, tensor: Tensor) -> frozenset[str]:
        kept = self._facts.get(id(tensor))
        return kept[1] if kept is not None and kept[0]() is tensor else frozenset()

    def _ref(self, tensor: Tensor) -> Ref | None:
        kept = self._makers.get(id(tensor))
        return kept[1] if kept is not None and kept[0]() is tensor else None

    def _packed(self, value: Any) -> Any:
        return mapped(value, self._pack)

    def _pack(self, tensor: Tensor) -> Arg:
        ref = self._ref(tensor)
        if ref is not None:
            return ref
        kept = self._data.get(id(tensor))
        if kept is None:
            _check(tensor)
            kept = self._data[id(tensor)] = (tensor, tensor._version, len(self._data))  # pyright: ignore[reportPrivateUsage]
            self._size += tensor.numel() * tensor.element_size()
            if self._size > LARGEST:
                raise CannotRecordError(
                    f"could not copy: one pass uses more than {LARGEST >> 20} MB of data"
                )
        return Outside(kept[2])

    # -- modules -----------------------------------------------------------------------------

    def _copied(self, module: nn.Module) -> int:
        kept = self._modules.get(id(module))
        if kept is None:
            copied = self._copy(_inside(module))
            kept = self._modules[id(module)] = (module, len(self._copies))
            self._copies.append(copied)
        return kept[1]

    def _copy(self, module: nn.Module) -> nn.Module:
        if id(module) in self._memo:
            return self._memo[id(module)]
        size = sum(t.numel() * t.element_size() for t in state([module]))
        largest = LARGEST if self.run.clock.dense else LATE
        if size > largest:
            raise CannotRecordError(f"could not copy: the model holds {size / 2**20:,.0f} MB")
        for tensor in state([module]):
            _check(tensor)
        for part in module.modules():
            _prepare(part, self._memo)
        try:
            return copy.deepcopy(module, self._memo)
        except Exception as error:
            raise CannotRecordError(f"could not copy: {type(module).__name__}: {error}") from error

    # -- the tape ----------------------------------------------------------------------------

    def tape(self, backward: Backward) -> Tape:
        """What led to this loss."""
        loss = self._ref(backward.loss)
        if loss is None:
            hidden = (
                "the model is compiled"
                if self.run.compiled
                else "a function that was not seen made it"
            )
            raise CannotRecordError(f"how the loss was computed is not known: {hidden}")
        if backward.loss.numel() != 1:
            raise CannotRecordError("the loss is not one number")
        wanted = self._slice(loss.step)
        order = {old: new for new, old in enumerate(wanted)}
        chosen = [self.steps[old] for old in wanted]
        used = sorted(
            {arg.index for step in chosen for arg in _marks(step) if isinstance(arg, Outside)}
        )
        marks, data, weights = self._kept(used)
        modules = sorted({step.module for step in chosen if step.module >= 0})

        def renamed(arg: Arg) -> Arg:
            if isinstance(arg, Ref):
                return Ref(order[arg.step], arg.part)
            return marks[arg.index]

        steps = tuple(
            replace(
                step,
                module=modules.index(step.module) if step.module >= 0 else -1,
                args=mapped(step.args, renamed, ARGS),
                kwargs=mapped(step.kwargs, renamed, ARGS),
            )
            for step in chosen
        )
        live = [module for module, index in self._modules.values() if index in modules]
        return Tape(
            place=backward.place,
            tick=backward.tick,
            value=float(backward.loss.detach()),
            loss=Ref(order[loss.step], loss.part),
            steps=steps,
            modules=tuple(self._copies[index] for index in modules),
            weights=tuple(copied for _, copied in weights),
            data=data,
            built=tuple(self.run.built(module) for module in live),
            places=tuple(self._places(module) for module in live),
            originals=_followed(live, [weight for weight, _ in weights]),
        )

    def _places(self, module: nn.Module) -> dict[str, Place]:
        named = ((name, self.run.built(part)) for name, part in _inside(module).named_modules())
        return {name: place for name, place in named if place is not None}

    def _slice(self, last: int) -> list[int]:
        wanted: set[int] = set()
        queue = [last]
        while queue:
            index = queue.pop()
            if index not in wanted:
                wanted.add(index)
                queue.extend(arg.step for arg in _marks(self.steps[index]) if isinstance(arg, Ref))
        return sorted(wanted)

    def _kept(
        self, used: list[int]
    ) -> tuple[dict[int, Arg], tuple[Datum, ...], list[tuple[Tensor, Tensor]]]:
        """Copies of the tensors from outside: data, and weights that are used outside their module."""
        by_index = {index: (tensor, version) for tensor, version, index in self._data.values()}
        marks: dict[int, Arg] = {}
        data: list[Datum] = []
        weights: list[tuple[Tensor, Tensor]] = []
        for index in used:
            tensor, version = by_index[index]
            if tensor._version != version:  # pyright: ignore[reportPrivateUsage]
                raise CannotRecordError(
                    "a tensor was changed in place between its use and backward"
                )
            if tensor.requires_grad and not tensor.is_leaf:
                raise CannotRecordError(
                    "part of the loss was computed out of sight: before the last backward, or by a custom function"
                )
            if tensor.requires_grad:
                marks[index] = Weight(len(weights))
                copied = self._memo.get(id(tensor))
                if copied is None:
                    copied = tensor.detach().clone().requires_grad_()
                weights.append((tensor, copied))
            else:
                known = self._known(tensor)
                marks[index] = Outside(len(data))
                facts = {
                    name: name in known for name in ("loaded", "collated", "drawn", "computed")
                }
                data.append(Datum(tensor.detach().clone(), **facts))
        return marks, tuple(data), weights


ARGS = (Ref, Outside, Weight)
SAME = frozenset(
    "to cuda cpu float long int double half bfloat16 type contiguous clone detach".split()
)
"""Functions that leave the layout as it is."""


def _marks(step: Step) -> Iterator[Arg]:
    return found((step.args, step.kwargs), ARGS)


def _check(tensor: Tensor) -> None:
    import torch

    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # pyright: ignore
        raise CannotRecordError("the pass runs under torch.func (vmap, grad)")
    if (
        tensor.layout is not torch.strided
        or tensor.is_meta
        or tensor.is_quantized
        or tensor.is_nested
    ):
        raise CannotRecordError(f"could not copy: a tensor is {tensor.layout} on {tensor.device}")


def _inside(module: nn.Module) -> nn.Module:
    """The module itself, without a compiler's or a data-parallel wrapper."""
    from torch import nn

    inner = getattr(module, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return _inside(inner)
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _inside(module.module)
    return module


def _prepare(module: nn.Module, memo: dict[int, Any]) -> None:
    """Tell deepcopy of a module's attributes what to share: activations that were kept, trainers, loaders, locks."""
    import torch
    from torch import Tensor

    kept: list[Any] = memo.setdefault(id(memo), [])
    for name, value in vars(module).items():
        if name in OWN:
            continue
        for tensor in leaves(value):
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
                kept.append(tensor)
        if isinstance(value, torch.Generator):
            memo[id(value)] = value.clone_state()
            kept.append(value)
        elif not isinstance(value, (*OPAQUE, *HOLDERS, Tensor)) and not _alive(value):
            memo[id(value)] = value
            kept.append(value)


OWN = frozenset(
    "_parameters _buffers _modules training _non_persistent_buffers_set _backward_pre_hooks _backward_hooks _is_full_backward_hook "
    "_forward_hooks _forward_hooks_with_kwargs _forward_hooks_always_called _forward_pre_hooks _forward_pre_hooks_with_kwargs "
    "_state_dict_hooks _state_dict_pre_hooks _load_state_dict_pre_hooks _load_state_dict_post_hooks".split()
)
"""Attributes that every module has."""


HOLDERS = (list, dict, set, tuple)


def _alive(value: Any) -> bool:
    """Whether a plain object holds tensors or modules, which a copy must have for itself."""
    from torch import Tensor, nn

    return any(True for _ in found(value, (Tensor, nn.Module), 3))


def _casts() -> tuple[tuple[str, Any], ...]:
    """The autocast that is on: device and dtype."""
    import torch

    devices = ("cpu", "cuda") if torch.cuda.is_initialized() else ("cpu",)
    return tuple(
        (device, torch.get_autocast_dtype(device))
        for device in devices
        if torch.is_autocast_enabled(device)
    )


def _random() -> Any:
    """The states of the random generators."""
    import numpy as np
    import torch

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return torch.get_rng_state(), cuda, random.getstate(), np.random.get_state()


def _same(a: Any, b: Any) -> bool:
    import torch

    return torch.equal(a[0], b[0]) and all(
        torch.equal(x, y) for x, y in zip(a[1], b[1], strict=False)
    )


def _collates(loader: Any) -> bool:
    """Whether a loader stacks samples along the first dimension in the usual way."""
    from torch.utils.data import default_collate

    return (
        getattr(loader, "collate_fn", None) is default_collate
        and getattr(loader, "batch_size", None) is not None
    )


def _followed(modules: list[nn.Module], weights: list[Tensor]) -> list[Any]:
    """The live parameters and buffers, to read their final values; none if they are too large to hold on to."""
    tensors = state([_inside(module) for module in modules], weights)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return list(tensors) if size <= FOLLOWED else []
