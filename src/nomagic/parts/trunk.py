"""Trunk and head of any network: what it learned of the inputs, and the last layer that answers.

The head is the last layer with weights that runs, a linear one or a 1 x 1 convolution; the trunk
is all before it, and the head's input its features. Layers are told in blocks, from the input on:
a residual block or a transformer's, where the network has such modules, else a single layer with
the norm and the unit behind it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.parts.flow import Call, Flow, like, observe

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
LARGEST = 0.5
"""The share of the trunk's layers that a block has at most; what has more is looked into."""


class TrunkError(ValueError):
    """A network without trunk and head, or weights that are not its own: says what was found."""


@dataclass(frozen=True, eq=False)
class Block:
    """Layers that belong together, by the names of their parameters."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Trunk:
    """A network, its head and its blocks from the input on; the last block is the head.

    ``shape`` is that of one input's features, without the batch.
    """

    model: nn.Module
    name: str
    head: nn.Module
    blocks: tuple[Block, ...]
    shape: tuple[int, ...]

    def features(self, x: Tensor) -> Tensor:
        """What the head is given for inputs (n, …): (n, *shape)."""
        with _heard(self.head) as seen:
            self.model(x)
        return seen[-1]

    def vectors(self, x: Tensor) -> Tensor:
        """The features averaged over places, or over tokens: (n, channels)."""
        found = self.features(x)
        if isinstance(self.head, CONVOLUTIONS):
            return found.flatten(2).mean(2) if found.ndim > 2 else found
        return found.flatten(1, -2).mean(1) if found.ndim > 2 else found

    @property
    def channels(self) -> int:
        """The length of a vector."""
        return self.shape[0] if isinstance(self.head, CONVOLUTIONS) else self.shape[-1]

    def state(self) -> dict[str, Tensor]:
        """A copy of the trunk's parameters and buffers, by name; the head's are left out."""
        state = self.model.state_dict()
        return {
            name: value.detach().clone()
            for name, value in state.items()
            if not name.startswith(f"{self.name}.")
        }


def find(model: nn.Module, sample: Tensor) -> Trunk:
    """Trunk and head of a network, from what runs on a batch of inputs (n, …).

    Raises:
        TrunkError: the last layer is no linear one and no 1 x 1 convolution, shares its weights,
            or is the only one.
    """
    flow = observe(model, sample)
    if not isinstance(flow.output, Tensor):
        kind = type(flow.output).__name__
        raise TrunkError(f"the network returns {kind}; expected one tensor of outputs")
    head = _head(flow)
    name = next(name for name, module in model.named_modules() if module is head)
    _check_own(model, name)
    blocks = _blocks(model, flow, name)
    if len(blocks) < 2:
        raise TrunkError(
            f"{name or type(head).__name__} is the only layer; expected a network with layers "
            "before the last one, to be kept when the last one is made afresh"
        )
    with _heard(head) as seen:
        observe(model, sample)
    return Trunk(model, name, head, blocks, tuple(seen[-1].shape[1:]))


def _head(flow: Flow) -> nn.Module:
    """The module of the last layer that runs."""
    layers = [call for call in flow.calls if call.role == "layer"]
    if not layers:
        raise TrunkError("the network has no layer with weights; expected one at its end")
    module = layers[-1].module
    pointwise = isinstance(module, CONVOLUTIONS) and set(module.kernel_size) == {1}
    if module is None or not (pointwise or isinstance(module, nn.Linear)):
        raise TrunkError(
            f"the last layer of the network is {layers[-1].name} ({layers[-1].place}); expected "
            "an nn.Linear or a 1 x 1 convolution, which can be made afresh for other classes"
        )
    return module


def _check_own(model: nn.Module, head: str) -> None:
    """Raise `TrunkError` where the head's weights belong to another layer, too."""
    every = dict(model.named_parameters(remove_duplicate=False))
    mine = {id(p): name for name, p in every.items() if name.startswith(f"{head}.")}
    for name, p in every.items():
        if id(p) in mine and mine[id(p)] != name:
            raise TrunkError(
                f"{mine[id(p)]} is the same tensor as {name}; expected a head with weights of its "
                "own, so that the layers before it can be trained or kept without it"
            )


@contextlib.contextmanager
def _heard(head: nn.Module) -> Generator[list[Tensor]]:
    """What the head is given while this is on."""
    seen: list[Tensor] = []

    def hear(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(next(iter((*args, *kwargs.values()))))

    handle = head.register_forward_pre_hook(hear, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


# -- blocks -----------------------------------------------------------------------------------


def _blocks(model: nn.Module, flow: Flow, head: str) -> tuple[Block, ...]:
    """The parameters by block, from the input on; the head is the last.

    What has no layer (a norm, a unit with a slope) belongs to the block before it.
    """
    order = _Order(model, flow)
    groups: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        holder = name.rpartition(".")[0]
        groups.setdefault(holder if holder == head else order.block(holder), []).append(name)
    last = groups.pop(head, [])
    found: list[Block] = []
    for name in sorted(groups, key=order.first):
        block = Block(name, tuple(groups[name]))
        if found and not order.layers(name):
            before = found.pop()
            block = Block(before.name, (*before.parameters, *block.parameters))
        found.append(block)
    return (*found, Block(head, tuple(last)))


class _Order:
    """Where each module of a network comes in what ran."""

    def __init__(self, model: nn.Module, flow: Flow) -> None:
        self.model, self.flow = model, flow
        self.names = {module: name for name, module in model.named_modules()}
        self.total = sum(call.role == "layer" for call in flow.calls) - 1
        self._inside: dict[str, list[Call]] = {}

    def calls(self, name: str) -> list[Call]:
        """The calls of a module and of what is inside it."""
        if name not in self._inside:
            inside = set(self.model.get_submodule(name).modules())
            self._inside[name] = [
                call for call in self.flow.calls if {call.module, call.owner} & inside
            ]
        return self._inside[name]

    def first(self, name: str) -> int:
        """The first call of a module; of the one around it, where it is not called itself."""
        while name and not self.calls(name):
            name = name.rpartition(".")[0]
        return self.calls(name)[0].index

    def layers(self, name: str) -> int:
        """How many layers a module has."""
        return sum(call.role == "layer" for call in self.calls(name))

    def block(self, holder: str) -> str:
        """The block of a module: the outermost one around it that is not most of the trunk.

        What a module that is most of it holds itself goes with the first layer in it.
        """
        if self._most(holder):
            first = next(call for call in self.calls(holder) if call.role == "layer")
            inner = self.names[first.owner if first.module is None else first.module]
            return holder if inner == holder else self.block(inner)
        parts = holder.split(".")
        for depth in range(1, len(parts)):
            name = ".".join(parts[:depth])
            module = self.model.get_submodule(name)
            if not (self._most(name) or isinstance(module, CONTAINERS)):
                return name
        return holder

    def _most(self, name: str) -> bool:
        """Whether a module is most of the trunk: then it is looked into."""
        return self.layers(name) > max(1, LARGEST * self.total)


# -- what is trained --------------------------------------------------------------------------

Norms = Literal["move", "keep", "fixed"]
"""Batch norm while fine-tuning: statistics go on moving; are kept; scales and shifts are, too."""


class KeptNorm(nn.Module):
    """Batch norm that keeps its statistics also in training; its tensors have the same names."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.register_parameter("weight", norm.weight if norm.affine else None)
        self.register_parameter("bias", norm.bias if norm.affine else None)
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, channels, …) to the same."""
        statistics = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(x, *statistics, self.weight, self.bias, False, 0.0, self.eps)


@dataclass(frozen=True, slots=True)
class Freeze:
    """The change of an `nomagic.words.Edit`: only the last blocks are trained.

    ``depth`` is their number, counted from the head; 0 is all. Blocks that are not trained keep
    their norms' statistics; ``norms`` says what becomes of the others.
    """

    depth: int = 0
    norms: Norms = "keep"

    def __call__(self, model: nn.Module, sample: Tensor) -> nn.Module:
        """The same network, with parameters that want no gradient."""
        found = find(model, like(model, sample))
        closed = found.blocks[: -self.depth] if self.depth else ()
        names = {name for block in closed for name in block.parameters}
        for name, module in list(model.named_modules()):
            if isinstance(module, BATCH_NORMS) and module.track_running_stats:
                own = {f"{name}.{inner}" for inner, _ in module.named_parameters()}
                if self.norms == "fixed":
                    names |= own
                if self.norms != "move" or own & names:
                    _put(model, name, KeptNorm(module))
        for name, p in model.named_parameters():
            if name in names:
                p.requires_grad_(False)
        return model


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a module by another one."""
    holder, _, last = name.rpartition(".")
    setattr(model.get_submodule(holder), last, module)


# -- weights ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of given weights: names loaded, missing in the file, not known to the network.

    ``reshaped`` has (name, shape in the file, shape here) of those that do not fit, ``head`` says
    whether the head was loaded, too.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    head: bool

    def says(self) -> tuple[str, ...]:
        """The same in sentences."""
        every = len(self.loaded) + len(self.missing) + len(self.reshaped)
        said = [
            f"{len(self.loaded)} of {every} tensors start from the given weights; the head "
            + ("does, too." if self.head else "is made afresh.")
        ]
        for name, there, here in self.reshaped:
            said.append(f"{name} has shape {there} in the file and {here} here: made afresh.")
        for what, names in (("not in the file", self.missing), ("not used", self.unknown)):
            if names:
                more = f" and {len(names) - 4} more" if len(names) > 4 else ""
                said.append(f"{', '.join(names[:4])}{more}: {what}.")
        return tuple(said)


@torch.no_grad()
def load(trunk: Trunk, weights: Mapping[str, Tensor]) -> Loaded:
    """Give a network the weights that fit it by name and shape; the rest stays as it is.

    Names may begin with another module's (``module.``, ``backbone.``), on either side.

    Raises:
        TrunkError: none of the trunk's is among them, or some are not finite.
    """
    own = trunk.model.state_dict()
    given = _aligned(own, weights)
    fits = [name for name in own if name in given and given[name].shape == own[name].shape]
    inner = {name for block in trunk.blocks[:-1] for name in block.parameters}
    if not inner & set(fits):
        raise TrunkError(
            f"no tensor of the trunk is among the {len(weights)} given: expected "
            f"{_told(own)}, got {_told(weights)}"
        )
    for name in fits:
        if not bool(given[name].isfinite().all()):
            raise TrunkError(f"{name} has numbers in the file that are not finite")
        own[name].copy_(given[name])
    reshaped = tuple(
        (name, tuple(given[name].shape), tuple(own[name].shape))
        for name in own
        if name in given and name not in fits
    )
    return Loaded(
        loaded=tuple(fits),
        missing=tuple(name for name in own if name not in given),
        unknown=tuple(name for name in given if name not in own),
        reshaped=reshaped,
        head=set(trunk.blocks[-1].parameters) <= set(fits),
    )


def _aligned(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The given weights under the names that most fit the network's own."""

    def fitting(named: dict[str, Tensor]) -> int:
        return sum(name in own and own[name].shape == value.shape for name, value in named.items())

    theirs = dict.fromkeys(name.partition(".")[0] + "." for name in given)
    ours = dict.fromkeys(name.partition(".")[0] + "." for name in own)
    forms = [
        dict(given),
        *({name.removeprefix(prefix): value for name, value in given.items()} for prefix in theirs),
        *({prefix + name: value for name, value in given.items()} for prefix in ours),
    ]
    return max(forms, key=fitting)


def _told(named: Mapping[str, Tensor]) -> str:
    few = [f"{name} {tuple(value.shape)}" for name, value in list(named.items())[:3]]
    return ", ".join(few) + (", …" if len(named) > 3 else "") if few else "nothing"


def read(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; nothing else is read, so that no code can come along.

    Raises:
        TrunkError: there is no such file, or it is of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(file).is_file():
        raise TrunkError(f"there is no file {file}; expected weights in a safetensors file")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise TrunkError(
            f"{file} is no safetensors file ({error}); write one with "
            "safetensors.torch.save_file(model.state_dict(), file)"
        ) from error


def digest(file: str | Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Start:
    """The change of an `nomagic.words.Edit`: the network starts from the weights of a file.

    Raises, when it is called, `TrunkError`: the file is not there, is another than the one whose
    sha256 was written down, or does not fit.
    """

    file: str
    sha256: str = ""

    def __call__(self, model: nn.Module, sample: Tensor) -> nn.Module:
        """The same network, with these weights."""
        weights = read(self.file)
        if self.sha256 and digest(self.file) != self.sha256:
            raise TrunkError(f"{self.file} is not the file that was used before: it has changed")
        load(find(model, like(model, sample)), weights)
        return model
