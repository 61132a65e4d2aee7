"""Runs a tape again, on copies of the modules, with other data, weights or modes.

A replay counts only if it gives the recorded loss (`Replay.verify`). What a pass computes
inside the modules is seen by a function mode, `Spy`: the losses with their predictions and
targets, and dropout, which can be turned off.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nomagic.probes.tape import ARGS, Arg, Kept, Outside, Ref, Step, Tape, state
from nomagic.probes.tree import leaves, mapped

CLOSE = 1e-4
"""How near a replayed loss must come to the recorded one, relative (and absolute below 1)."""
CLOSE_CAST = 2e-2
"""The same under autocast or in half precision."""


class CannotReplayError(Exception):
    """A tape that cannot be run again, and why."""


class Replay:
    """A tape with modules of its own: train them, change them, throw them away."""

    def __init__(self, tape: Tape, *, final: bool = False) -> None:
        """``final`` starts from the weights at the end of the run instead of the recorded ones."""
        self.tape = tape
        self.modules: tuple[nn.Module, ...]
        self.weights: tuple[Tensor, ...]
        self.modules, self.weights = copy.deepcopy((tape.modules, tape.weights))
        self.data: list[Tensor] = [datum.value for datum in tape.data]
        if final:
            self._load()

    def _load(self) -> None:
        if self.tape.final is None:
            raise CannotReplayError("the weights at the end of the run are not known")
        own = state(self.modules, self.weights)
        if [t.shape for t in own] != [t.shape for t in self.tape.final]:
            raise CannotReplayError("the model changed its shape during the run")
        with torch.no_grad():
            for tensor, last in zip(own, self.tape.final, strict=True):
                tensor.copy_(last)

    def parameters(self) -> list[Tensor]:
        """The trainable parameters and loose weights, each once."""
        return [t for t in state(self.modules, self.weights) if t.requires_grad]

    def eval(self) -> Replay:
        """Put every module into evaluation mode, for good."""
        for module in self.modules:
            module.eval()
        return self

    def verify(self) -> None:
        """Raise unless a replay gives the recorded loss, twice, by the copies' own weights."""
        recorded = self.tape.value
        half = any(step.casts for step in self.tape.steps) or any(
            p.dtype in (torch.float16, torch.bfloat16) for p in self.parameters()
        )
        close = CLOSE_CAST if half else CLOSE
        self._agree(float(Replay(self.tape).loss(recorded=True).detach()), recorded, close)
        twin = Replay(self.tape)
        with torch.enable_grad():
            loss = twin.loss(recorded=True)
        self._agree(float(loss.detach()), recorded, close)
        parameters = twin.parameters()
        if not parameters:
            raise CannotReplayError("no trainable weights were seen")
        grads = cast(
            "tuple[Tensor | None, ...]", torch.autograd.grad(loss, parameters, allow_unused=True)
        )
        if all(grad is None for grad in grads):
            raise CannotReplayError(
                "a copy of the model computes with weights that are not its own"
            )

    @staticmethod
    def _agree(value: float, recorded: float, close: float) -> None:
        if not abs(value - recorded) <= close * max(1.0, abs(recorded)):
            raise CannotReplayError(
                f"a replay gives a loss of {value:.4g}, the run had {recorded:.4g}"
            )

    def loss(self, data: Mapping[int, Tensor] | None = None, *, recorded: bool = False) -> Tensor:
        """The loss, with some data replaced; ``recorded``: in the recorded modes, same draws."""
        return self.values(data, recorded=recorded, last=self.tape.loss.step)[self.tape.loss]

    def output(self, step: int, data: Mapping[int, Tensor] | None = None) -> Tensor:
        """The first floating tensor that this step gives."""
        values = self.values(data, last=step)
        for tensor in values.outputs[step]:
            if tensor.is_floating_point():
                return tensor
        raise CannotReplayError("the model returns no numbers")

    def values(
        self,
        data: Mapping[int, Tensor] | None = None,
        *,
        recorded: bool = False,
        last: int | None = None,
    ) -> Values:
        """Run the steps, up to ``last``; with gradients if caller and run keep them."""
        values = Values(self, dict(data or {}))
        steps = self.tape.steps if last is None else self.tape.steps[: last + 1]
        grads = torch.is_grad_enabled() or recorded
        for step in steps:
            with torch.set_grad_enabled(grads and step.grads), _cast(step):
                values.add(self._run(step, values, recorded))
        return values

    def _run(self, step: Step, values: Values, recorded: bool) -> list[Tensor]:
        args, kwargs = values.filled(step.args), values.filled(step.kwargs)
        if recorded and step.random is not None:
            _set_random(step.random)
        if step.module < 0:
            return list(leaves(step.func(*args, **kwargs)))
        module = self.modules[step.module]
        if recorded:
            for part, training in zip(module.modules(), step.modes, strict=True):
                part.training = training
        made = list(leaves(module(*args, **kwargs)))
        return made + [_left(module, kept) for kept in step.kept]


class Values:
    """The tensors of one replay: what came from outside, and what each step made."""

    def __init__(self, replay: Replay, data: dict[int, Tensor]) -> None:
        self.replay = replay
        self.data = data
        self.outputs: list[list[Tensor]] = []

    def add(self, tensors: list[Tensor]) -> None:
        """Note what the next step made."""
        self.outputs.append(tensors)

    def __getitem__(self, arg: Arg) -> Tensor:
        if isinstance(arg, Ref):
            try:
                return self.outputs[arg.step][arg.part]
            except IndexError:
                raise CannotReplayError(
                    "a replay gives another number of tensors than the run"
                ) from None
        if isinstance(arg, Outside):
            return self.data.get(arg.index, self.replay.data[arg.index])
        return self.replay.weights[arg.index]

    def filled(self, template: Any) -> Any:
        """Arguments with the tensors in their places."""
        return mapped(template, self.__getitem__, ARGS)


def _left(module: nn.Module, kept: Kept) -> Tensor:
    """A tensor that the call left on the module."""
    name, attribute, index = kept
    tensors = list(leaves(getattr(module.get_submodule(name), attribute, None), 2))
    if index >= len(tensors):
        raise CannotReplayError(f"a replay does not leave {attribute} on the model")
    return tensors[index]


@contextlib.contextmanager
def _cast(step: Step) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        for device, dtype in step.casts:
            stack.enter_context(torch.autocast(device, dtype=dtype))
        yield


def _set_random(states: Any) -> None:
    cpu, cuda, python, numpy = states
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
    random.setstate(python)
    np.random.set_state(numpy)


# -- looking inside ------------------------------------------------------------------------

DROPOUTS = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "feature_dropout",
    ]
)
LOSSES = frozenset(
    [
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
    ]
)


WEIGHTS = -1
"""Stands for the model's weights among the origins of a tensor."""


@dataclass(slots=True)
class Told:
    """A supervised loss inside a pass: what was predicted, what was wanted, its own settings.

    ``made_from`` and ``wanted_from`` are the data (by index) that prediction and target depend
    on.
    """

    kind: str
    pred: Tensor
    target: Tensor
    own: dict[str, Any]
    made_from: frozenset[int] = frozenset()
    wanted_from: frozenset[int] = frozenset()


class Spy(TorchFunctionMode):
    """Notes the supervised losses of a pass; turns dropout off on request."""

    def __init__(self, replay: Replay | None = None, *, dropout: bool = True) -> None:
        """With a ``replay`` it follows what depends on which data, at some cost."""
        super().__init__()
        self.dropout = dropout
        self.told: list[Told] = []
        self.names: set[str] = set()
        self._residuals: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._logs: dict[int, Tensor] = {}
        self._origins: dict[int, tuple[Tensor, frozenset[int]]] | None = None
        if replay is not None:
            self._origins = {id(t): (t, frozenset([i])) for i, t in enumerate(replay.data)}
            for t in state(replay.modules, replay.weights):
                self._origins[id(t)] = (t, frozenset([WEIGHTS]))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = short(func)
        self.names.add(name)
        if not self.dropout:
            if name in DROPOUTS:
                return args[0] if args else kwargs["input"]
            if name == "scaled_dot_product_attention" and kwargs.get("dropout_p"):
                kwargs = {**kwargs, "dropout_p": 0.0}
        output = func(*args, **kwargs)
        if self._origins is not None:
            self._follow((args, kwargs), output)
        if name in LOSSES:
            self._loss(name, args, kwargs)
        elif name in HANDMADE and isinstance(output, Tensor):
            self._handmade(name, args, output)
        return output

    def _follow(self, given: Any, output: Any) -> None:
        assert self._origins is not None
        origins = frozenset[int]().union(*(self._from(t) for t in leaves(given)))
        for tensor in leaves(output):
            self._origins[id(tensor)] = (tensor, origins)

    def _from(self, tensor: Tensor) -> frozenset[int]:
        kept = (self._origins or {}).get(id(tensor))
        return kept[1] if kept is not None and kept[0] is tensor else frozenset()

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("input", "target", "weight"), args, strict=False)) | kwargs
        self._tell(name, given.pop("input"), given.pop("target"), given)

    def _handmade(self, name: str, args: Any, output: Tensor) -> None:
        """Squared and absolute differences, and log-probabilities that are picked by index."""
        if name in MINUS and len(args) > 1 and all(isinstance(a, Tensor) for a in args[:2]):
            self._residuals[id(output)] = (output, args[0], args[1])
        elif name in SQUARES:
            kept = self._residuals.get(id(args[0]))
            square = name not in ("__pow__", "pow") or args[1] == 2
            same = name not in ("__mul__", "mul") or args[0] is args[1]
            if kept is not None and kept[0] is args[0] and square and same:
                self._tell("l1_loss" if "abs" in name else "mse_loss", kept[1], kept[2], {})
        elif name == "log_softmax":
            self._logs[id(output)] = output
        elif self._logs.get(id(args[0])) is args[0]:
            self._picked(name, args)

    def _picked(self, name: str, args: Any) -> None:
        logs = args[0]
        if logs.dim() != 2 or len(args) < 2:
            return
        target = None
        if name == "gather" and len(args) > 2 and args[1] in (1, -1):
            target = args[2].reshape(-1) if args[2].numel() == len(logs) else None
        elif name == "__getitem__" and isinstance(args[1], tuple) and len(args[1]) == 2:
            target = args[1][1]
        if isinstance(target, Tensor) and target.shape == logs.shape[:1] and is_index(target):
            self._tell("nll_loss", logs, target, {})

    def _tell(self, kind: str, pred: Tensor, target: Tensor, own: dict[str, Any]) -> None:
        if target.requires_grad and not pred.requires_grad:
            pred, target = target, pred
        if target.requires_grad or not pred.requires_grad:
            return
        self.told.append(Told(kind, pred, target, own, self._from(pred), self._from(target)))


MINUS = frozenset(["__sub__", "__rsub__", "sub", "subtract", "rsub"])
SQUARES = frozenset(["__pow__", "pow", "square", "abs", "__abs__", "absolute", "__mul__", "mul"])
HANDMADE = MINUS | SQUARES | {"log_softmax", "gather", "__getitem__"}


def is_index(tensor: Tensor) -> bool:
    """Whether a tensor holds whole numbers: class indices, tokens."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def short(func: Any) -> str:
    """The short name of a torch function: "view", "T"."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", name)
    return name


def no_dropout(modules: tuple[nn.Module, ...]) -> None:
    """Turn dropout off in every module, whatever its mode."""
    for root in modules:
        for part in root.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
                part.p = 0.0
            elif isinstance(part, nn.RNNBase | nn.MultiheadAttention):
                part.dropout = 0.0
