"""One tick being recorded: every call and function, until the loss tells which of them count."""

from __future__ import annotations

import copy
import random
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nomagic.probes import behind as losses
from nomagic.probes.run import Backward, Call, Op, Run
from nomagic.probes.tape import ARGS, Arg, Datum, Kept, Outside, Ref, Step, Tape, Weight, state
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
STEPS = 5_000
"""Calls and functions on one tape."""

RANDOM = frozenset(
    [
        *("rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm"),
        *("normal", "normal_", "uniform_", "random_", "bernoulli", "bernoulli_", "multinomial"),
        *("poisson", "exponential_", "cauchy_", "log_normal_", "geometric_", "dropout"),
    ]
)
PICKS = frozenset(
    [
        *("__getitem__", "index_select", "gather", "take", "take_along_dim"),
        *("embedding", "masked_select"),
    ]
)
"""Functions whose result is as random as what they pick from, not as the picks."""


class CannotRecordError(Exception):
    """A tick that cannot be kept, and why."""


class Recording:
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
        """A module is called: copy it, keep what it was given."""
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
        """The call is over: it is a step."""
        entered, self._entered = self._entered, None
        if entered is None or entered[0] is not call:
            return
        _, args, (index, modes, casts, before) = entered
        kwargs = self._packed(call.kwargs)
        name = type(call.module).__name__
        kept, tensors = _kept(_inside(call.module))
        step = Step(name, index, None, args, kwargs, True, call.place, modes, casts, before, kept)
        self._add(step, [list(leaves(call.output)), tensors])

    def live(self, op: Op) -> bool:
        """Whether a weight or an earlier step is among what it was given; not updates by hand."""
        return any(
            (op.grads and tensor.requires_grad and tensor.is_leaf) or self._ref(tensor) is not None
            for tensor in leaves((op.args, op.kwargs))
        )

    def op(self, op: Op) -> None:
        """A function that a weight or an earlier step is part of is a step."""
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
        facts -= {"collated", "picked"} if op.name not in SAME else set()
        if _picks_rows(op):
            facts |= {"picked"}
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
        loss = self._ref(backward.loss) or self._guessed(backward.loss)
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

    def _guessed(self, loss: Tensor) -> Ref | None:
        """How a loss was computed in compiled code, by autograd's graph."""
        call = losses.behind(loss)
        if call is None:
            return None
        for identity, (made, _) in list(self._makers.items()):
            tensor = made()
            if tensor is not None and id(tensor) == identity and call.made(tensor):
                args = self._packed((tensor, call.target))
                step = Step(call.name, -1, call.func, args, call.settings, True, None)
                self._add(step, loss)
                return self._ref(loss)
        return None

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
        """Copies of the tensors from outside: data, and weights used outside their module."""
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
                    "part of the loss was computed out of sight: "
                    "before the last backward, or by a custom function"
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
                facts = {name: name in known for name in FACTS}
                data.append(Datum(tensor.detach().clone(), **facts))
        return marks, tuple(data), weights


SAME = frozenset(
    [
        *("to", "cuda", "cpu", "float", "long", "int", "double", "half", "bfloat16", "type"),
        *("contiguous", "clone", "detach"),
    ]
)
"""Functions that leave the layout as it is."""


FACTS = ("loaded", "collated", "picked", "drawn", "computed")


def _picks_rows(op: Op) -> bool:
    """Whether a function takes rows of a tensor: a slice, or a list of their numbers."""
    from torch import Tensor

    if op.name == "index_select":
        return True
    if op.name != "__getitem__" or len(op.args) < 2:
        return False
    index = op.args[1]
    return isinstance(index, slice | list) or (isinstance(index, Tensor) and index.dim() == 1)


def _marks(step: Step) -> Iterator[Arg]:
    return found((step.args, step.kwargs), ARGS)


def _check(tensor: Tensor) -> None:
    import torch

    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
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


def _kept(module: nn.Module) -> tuple[tuple[Kept, ...], list[Tensor]]:
    """What a call left on the module for a loss to use: penalties, activations."""
    kept: list[Kept] = []
    tensors: list[Tensor] = []
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute in OWN:
                continue
            for index, tensor in enumerate(leaves(value, 2)):
                if tensor.grad_fn is not None:
                    kept.append((name, attribute, index))
                    tensors.append(tensor)
    return tuple(kept), tensors


def _prepare(module: nn.Module, memo: dict[int, Any]) -> None:
    """Tell deepcopy what to share of a module's attributes: trainers, loaders, locks."""
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
    [
        *("_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"),
        *("_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook", "_forward_hooks"),
        *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
        *("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks"),
        *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    ]
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
    """The live parameters and buffers, to read their final values; none if they are too large."""
    tensors = state([_inside(module) for module in modules], weights)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return list(tensors) if size <= FOLLOWED else []
