"""What runs when a network sees a batch: its layers, norms, units and pools, and which feeds which.

The network runs once, in evaluation mode and without gradients; calls of modules of torch.nn and of
torch's functions are written down alike, so that ``F.relu(x)``, ``x.relu()`` and ``nn.ReLU()`` are
the same word. Modes, buffers and the random state are as before afterwards.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

UNITS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh,
}
"""The elementwise units, by the name of their function; ReLU6 is a kind of Hardtanh."""
MAX_POOLS: dict[str, type[nn.Module]] = {
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "max_pool3d": nn.MaxPool3d,
    "adaptive_max_pool1d": nn.AdaptiveMaxPool1d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
    "adaptive_max_pool3d": nn.AdaptiveMaxPool3d,
}
OTHERS: dict[str, type[nn.Module]] = {
    "local_response_norm": nn.LocalResponseNorm,
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_avg_pool3d": nn.AdaptiveAvgPool3d,
}
MODULES = {**UNITS, **MAX_POOLS, **OTHERS}
"""The module of torch.nn that does what a function does."""
NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM_FUNCTIONS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"})
LAYER_FUNCTIONS = frozenset(
    {"linear", "bilinear", "matmul", "__matmul__", "mm", "bmm", "addmm", "einsum", "embedding"}
    | {f"conv{more}{n}d" for more in ("", "_transpose") for n in (1, 2, 3)}
    | {"scaled_dot_product_attention", "multi_head_attention_forward"}
)
PRODUCTS = frozenset({"mul", "__mul__", "__rmul__", "__imul__"})
CONTAINERS = (
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)
"""Modules of torch.nn that are looked into."""
TORCH = str(Path(torch.__file__).parent)

Role = Literal["layer", "norm", "unit", "max pool", "dropout", "other"]


@dataclass(frozen=True, eq=False)
class Call:
    """One module of torch.nn, or one function, that ran.

    ``name`` is the function's, as in "conv2d" or "relu", for other modules their class's;
    ``module`` the module, if it is one; ``owner`` the module in whose forward it was called.
    ``sources`` are the numbers of the calls that made its inputs, ``shape`` is that of its output,
    ``place`` the line of the call.
    """

    index: int
    name: str
    role: Role
    module: nn.Module | None
    owner: nn.Module
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    place: str


@dataclass(frozen=True)
class Flow:
    """The calls of one forward, in order, and what came out.

    ``given`` has the positions and keywords that each module's forward was called with.
    """

    calls: tuple[Call, ...]
    output: Any
    given: dict[nn.Module, tuple[int, frozenset[str]]] = field(
        default_factory=dict[nn.Module, tuple[int, frozenset[str]]]
    )

    def users(self, call: Call) -> list[Call]:
        """The calls that take its output."""
        return [later for later in self.calls if call.index in later.sources]

    def of(self, module: nn.Module) -> list[Call]:
        """The calls of one module."""
        return [call for call in self.calls if call.module is module]

    def below(self, call: Call, stop: Role | None = None) -> Iterator[Call]:
        """The calls downstream, in order; not past one of the role ``stop``, which is included."""
        reached = {call.index}
        for later in self.calls:
            if reached & set(later.sources):
                yield later
                if later.role != stop:
                    reached.add(later.index)

    def hidden(self, call: Call) -> bool:
        """Whether a layer follows, however far."""
        return any(later.role == "layer" for later in self.below(call))

    def gates(self, call: Call) -> bool:
        """Whether its output is multiplied with another tensor."""
        return any(user.name in PRODUCTS and len(user.sources) > 1 for user in self.users(call))

    def unit(self, call: Call) -> Call | None:
        """The unit that follows a layer, before the next layer."""
        return next((one for one in self.below(call, "layer") if one.role == "unit"), None)

    def normed(self, call: Call) -> bool:
        """Whether a norm follows a layer, before the next layer."""
        return any(one.role == "norm" for one in self.below(call, "layer"))

    def units(self) -> list[Call]:
        """The units of hidden layers; gates are none."""
        return [
            call
            for call in self.calls
            if call.role == "unit" and self.hidden(call) and not self.gates(call)
        ]

    def layers(self) -> list[Call]:
        """The linear and convolutional layers that a hidden unit follows."""
        units = set(self.units())
        return [
            call
            for call in self.calls
            if isinstance(call.module, LAYERS) and self.unit(call) in units
        ]

    def last(self, call: Call) -> Call:
        """The end of the row of norms and units behind a layer that nothing branches off from."""
        users = self.users(call)
        while len(users) == 1 and users[0].role in ("norm", "unit"):
            call = users[0]
            users = self.users(call)
        return call


def observe(model: nn.Module, sample: Tensor) -> Flow:
    """Run a network on a batch of inputs and write down what was called."""
    recorder, sample = _Recorder(model), like(model, sample)
    with _aside(model), recorder.hooked(model), recorder:
        output = model(sample)
    return Flow(tuple(recorder.calls), output, recorder.given)


def like(model: nn.Module, sample: Tensor) -> Tensor:
    """The sample where the network is, in its precision."""
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is None:
        return sample
    return sample.to(first.device, first.dtype if sample.is_floating_point() else None)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one call: torch's own, and what is derived from its layers."""
    own = type(module).__module__.startswith("torch.nn.") and not isinstance(module, CONTAINERS)
    return own or isinstance(module, (*LAYERS, *NORMS))


def name_of(called: nn.Module | Callable[..., Any]) -> str:
    """The function's name, without the underscore of what works in place; a module's class."""
    if isinstance(called, nn.Module):
        kinds = (name for name, kind in MODULES.items() if isinstance(called, kind))
        return next(kinds, type(called).__name__)
    name: str = getattr(called, "__name__", "")
    return name if name.endswith("__") else name.rstrip("_")


def role_of(name: str, module: nn.Module | None) -> Role:
    """What a call does in a network."""
    if name in UNITS:
        return "unit"
    if name in MAX_POOLS:
        return "max pool"
    if name.endswith("dropout") or (name.startswith("dropout") and name.endswith("d")):
        return "dropout"
    if name in NORM_FUNCTIONS or isinstance(module, NORMS):
        return "norm"
    weighted = module is not None and any(True for _ in module.parameters())
    return "layer" if weighted or name in LAYER_FUNCTIONS else "other"


@contextlib.contextmanager
def drawn(seed: int) -> Generator[None]:
    """Torch's random state from a seed; afterwards it is as before."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _aside(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; modes, buffers and random state as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.no_grad(), drawn(0):
            model.eval()
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for module, training in modes.items():
            module.training = training


class _Recorder(TorchFunctionMode):
    """Writes down the calls while it is on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.given: dict[nn.Module, tuple[int, frozenset[str]]] = {}
        self._stack: list[nn.Module] = [model]
        self._leaves = 0
        self._made: dict[int, int] = {}
        self._alive: list[Tensor] = []  # ids are only unique among the living

    @contextlib.contextmanager
    def hooked(self, model: nn.Module) -> Generator[None]:
        """Hear when modules are called."""
        with contextlib.ExitStack() as handles:
            for module in model.modules():
                before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
                after = module.register_forward_hook(self._leave, with_kwargs=True)
                handles.callback(before.remove)
                handles.callback(after.remove)
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._leaves:
            self._write(name_of(func), None, (args, kwargs), result)
        return result

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if is_leaf(module):
            self._leaves += 1
        elif not self._leaves:
            self._stack.append(module)
            self.given.setdefault(module, (len(args), frozenset(kwargs)))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if is_leaf(module):
            if self._leaves == 1:
                self._write(name_of(module), module, (args, kwargs), result)
            self._leaves -= 1
        elif not self._leaves:
            self._stack.pop()

    def _write(self, name: str, module: nn.Module | None, given: Any, result: Any) -> None:
        results = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if not results:
            return
        inputs = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
        sources = dict.fromkeys(self._made[id(x)] for x in inputs if id(x) in self._made)
        index, shape = len(self.calls), tuple(results[0].shape)
        role, place = role_of(name, module), _place(inspect.currentframe())
        call = Call(index, name, role, module, self._stack[-1], tuple(sources), shape, place)
        self.calls.append(call)
        for tensor in results:
            self._made[id(tensor)] = index
            self._alive.append(tensor)


def _place(frame: FrameType | None) -> str:
    """The line outside torch that is being run."""
    while frame is not None and frame.f_code.co_filename.startswith((TORCH, __file__)):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else "?"
