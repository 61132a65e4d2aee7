"""A setup made concrete: its members, their data, their networks and their optimizer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nomagic.datasets import Data, as_data
from nomagic.engine import blocks, convolutions, scores
from nomagic.engine.draws import generator, seeded, stream, untouched
from nomagic.parts.trunk import TrunkError
from nomagic.words import Form, Setup

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""The dtype of the weights; bfloat16 is autocast over float32 weights."""


class SetupError(ValueError):
    """A setup that cannot be trained: says what came, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a seed; ``number`` counts the networks of an ensemble."""

    seed: int
    number: int = 0
    draw: int = 0

    def stream(self, purpose: str) -> int:
        """The seed of one of its streams."""
        return stream(self.seed, purpose, self.number, self.draw)


@dataclass(frozen=True, slots=True)
class Part:
    """A member's share of the data: rows to train on, rows held out, fitted input steps."""

    train: Tensor
    held: Tensor
    fitted: tuple[tuple[Tensor, ...], ...]


@dataclass
class Outcome:
    """What became of one seed of a setup: what the store keeps.

    ``scores`` are the metrics on the held-out part, ``curve`` the training loss of each epoch (nan
    where not measured). ``failed`` is empty, ``nan`` or what was raised. ``seconds`` is the
    training time that fell to it, ``inference`` the seconds for one sample.
    """

    seed: int
    scores: dict[str, float] = field(default_factory=dict[str, float])
    curve: list[float] = field(default_factory=list[float])
    failed: str = ""
    epochs: int = 0
    seconds: float = 0.0
    inference: float = 0.0
    parameters: int = 0


class Plan:
    """A setup with its data at hand; makes every member's parts on demand.

    Args:
        setup: the setup; its data may be of any kind that `nomagic.datasets.as_data` takes.
        data: the same, already read.

    Raises:
        SetupError: the setup's fields or its model do not fit together.
    """

    def __init__(self, setup: Setup, data: Data | None = None) -> None:
        self.setup = setup
        self.data = as_data(setup.data) if data is None else data
        self.form: Form = self.data.form
        self.device = torch.device(setup.device)
        self.dtype = DTYPES[setup.precision]
        loss = setup.loss or scores.default_loss(self.form.task)
        if setup.smoothing and self.form.task not in ("classification", "sequence"):
            raise SetupError(f"label smoothing needs classes; the task is {self.form.task}")
        self.loss: Callable[[Tensor, Tensor], Tensor] = scores.smoothed(loss, setup.smoothing)
        self.metric = scores.metric_name(setup, self.form.task)
        self.higher = scores.higher_is_better(setup, self.form.task)
        self._parts: dict[int, Part] = {}
        if not 0 < setup.held_out < 1:
            raise SetupError(f"held_out is {setup.held_out}; it is a share between 0 and 1")
        for name in ("epochs", "batch_size", "members"):
            if getattr(setup, name) < 1:
                raise SetupError(f"{name} is {getattr(setup, name)}; it must be 1 or more")

    # -- data -------------------------------------------------------------------------------

    def members(self, seeds: Iterable[int]) -> list[Member]:
        """Every network of these seeds, those of one seed side by side."""
        draw = self.setup.draw
        return [Member(seed, n, draw) for seed in seeds for n in range(self.setup.members)]

    def part(self, seed: int) -> Part:
        """The split of a seed, and the input steps fitted on its training part."""
        if seed not in self._parts:
            self._parts[seed] = self._shared(seed) or self._part(seed)
        return self._parts[seed]

    def _shared(self, seed: int) -> Part | None:
        """The part that a plan with the same data, split and input steps has made before; a plan
        of another kind may split otherwise.
        """
        setup = self.setup
        if setup.groups is not None or type(self) is not Plan:
            return None
        known = _PARTS.setdefault(self.data, {})
        where = (seed, setup.split, setup.held_out, tuple(setup.inputs), self.device, self.dtype)
        if not _hashable(where):
            return None
        if where not in known:
            while len(known) >= SHARED:
                del known[next(iter(known))]
            known[where] = self._part(seed)
        return known[where]

    def _part(self, seed: int) -> Part:
        train, held = self._split(seed)
        fitted: list[tuple[Tensor, ...]] = []
        if self.setup.inputs:
            x = self._cast(self.data.batch(train[:FITTED])[0])
            for step in self.setup.inputs:
                values = tuple(step.fit(x))
                x = step.use(x, *values)
                fitted.append(values)
        return Part(train, held, tuple(fitted))

    def ready(self, seeds: Iterable[int]) -> None:
        """Read, convert and split once, so that processes that are forked need not."""
        for seed in seeds:
            self.part(seed)
        _ = self.whole, self.channels_last

    def _split(self, seed: int) -> tuple[Tensor, Tensor]:
        count, share, how = len(self.data), self.setup.held_out, self.setup.split
        held = max(1, round(count * share))
        if how == "time":
            order = torch.arange(count)
            return order[: count - held], order[count - held :]
        random = generator(stream(0 if how == "fixed" else seed, "split"))
        if how == "group":
            return self._split_groups(random, share)
        fixed = self.data.test_rows
        if how == "fixed" and fixed is not None:
            return fixed
        order = torch.randperm(count, generator=random)
        return order[held:], order[:held]

    def _split_groups(self, random: torch.Generator, share: float) -> tuple[Tensor, Tensor]:
        groups = self.setup.groups if self.setup.groups is not None else self.data.groups
        if groups is None:
            raise SetupError("split is 'group' but there are no groups: give Setup(groups=…)")
        codes = torch.from_numpy(np.unique(np.asarray(groups), return_inverse=True)[1])
        if len(codes) != len(self.data):
            raise SetupError(f"groups has {len(codes)} entries for {len(self.data)} samples")
        count = int(codes.max()) + 1
        if count < 2:
            raise SetupError("split is 'group' and there is only one group")
        held = torch.randperm(count, generator=random)[: max(1, round(count * share))]
        mask = torch.isin(codes, held)
        return (~mask).nonzero().flatten(), mask.nonzero().flatten()

    def order(self, member: Member, epoch: int) -> Tensor:
        """The training rows of one epoch, in order."""
        rows = self.part(member.seed).train
        if self.setup.shuffle == "never":
            return rows
        turn = epoch if self.setup.shuffle == "every-epoch" else 0
        random = generator(stream(member.stream("order"), "epoch", turn))
        return rows[torch.randperm(len(rows), generator=random)]

    def batches(self, member: Member, epoch: int) -> Sequence[Tensor]:
        """The rows of each batch of one epoch; a last one below an eighth of the others is left
        out: norms over a batch need more, and the samples come in other epochs.
        """
        parts = self.order(member, epoch).split(self.setup.batch_size)
        return parts[:-1] if len(parts) > 1 and self._tiny(len(parts[-1])) else parts

    def _tiny(self, count: int) -> bool:
        return count == 1 or 8 * count < self.setup.batch_size

    def steps(self, member: Member) -> int:
        """Optimizer steps of the whole training."""
        size, count = self.setup.batch_size, len(self.part(member.seed).train)
        full, rest = divmod(count, size)
        return self.setup.epochs * max(1, full + (rest > 0 and not self._tiny(rest)))

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these rows, in any shape of rows, on the device."""
        if self.whole is None:
            return self._read(rows)
        flat = rows.flatten().to(self.device)
        x, y = (t.index_select(0, flat).unflatten(0, rows.shape) for t in self.whole)
        return x, y

    def _read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.data.batch(rows)
        return self._cast(x), self._cast(y)

    @cached_property
    def whole(self) -> tuple[Tensor, Tensor] | None:
        """All samples as the network takes them, on its device; None where they are too many.

        Plans of the same data share them.
        """
        x, y = self.data.x, self.data.y
        if not isinstance(x, Tensor) or y is None or x.numel() * self.dtype.itemsize > KEPT:
            return None
        kept, where = _KEPT.setdefault(self.data, {}), (self.device, self.dtype)
        if where not in kept:
            if x.dtype == torch.uint8:
                x, y = self.data.batch(torch.arange(len(self.data)))
            kept[where] = self._cast(x), self._cast(y)
        return kept[where]

    def _cast(self, t: Tensor) -> Tensor:
        return t.to(self.device, self.dtype if t.is_floating_point() else None)

    def prepare(self, x: Tensor, fitted: Sequence[Sequence[Tensor]]) -> Tensor:
        """The input steps, with their fitted values."""
        for step, values in zip(self.setup.inputs, fitted, strict=True):
            x = step.use(x, *values)
        return x

    def shifted(self, member: Member) -> Tensor | None:
        """Held-out images, and the same moved by one pixel in four directions (5, n, *shape).

        None where the data are no images with classes.
        """
        shape = self.form.shape
        if self.form.task != "classification" or len(shape) not in (2, 3) or self.form.tokens:
            return None
        if min(shape[-2:]) < SMALLEST or shape[-2] != shape[-1]:
            return None
        part = self.part(member.seed)
        x = self.prepare(self.fetch(part.held[:SHIFTED])[0], part.fitted)
        padded = x.reshape(len(x), -1, *shape[-2:])
        padded = torch.nn.functional.pad(padded, (1, 1, 1, 1), mode="replicate")
        high, wide = shape[-2:]
        moved = [padded[..., i : i + high, j : j + wide] for i, j in DIRECTIONS]
        return torch.stack([x, *(one.reshape(x.shape) for one in moved)])

    # -- networks -----------------------------------------------------------------------------

    def model(self, member: Member) -> nn.Module:
        """The member's fresh network, after surgery."""
        with seeded(member.stream("init")):
            model: Any = self.setup.model(self.form)
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise SetupError(f"Setup.model returned {kind}; it must return a fresh nn.Module")
        if self.setup.edits:
            sample = self.sample(member.seed)
            for number, edit in enumerate(self.setup.edits):
                with seeded(member.stream(f"edit {number}")), untouched():
                    model = edit.change(model, sample)
        return model.to(device=self.device, dtype=self.dtype)

    def sample(self, seed: int, size: int = 4) -> Tensor:
        """A small batch of inputs as the model sees them."""
        part = self.part(seed)
        return self.prepare(self.fetch(part.train[:size])[0], part.fitted)

    @cached_property
    def default(self) -> Callable[[Any], Optimizer]:
        """The setup's optimizer, AdamW at 1e-3 where none is named."""
        return self.setup.optimizer or partial(torch.optim.AdamW, lr=1e-3)

    def optimizer(self, parameters: Mapping[str, Tensor], free: frozenset[str]) -> Optimizer:
        """An optimizer of these parameters; those named in ``free`` are not decayed.

        Raises:
            SetupError: there are rates by block, and the network has no trunk and head.
        """
        decayed = [p for name, p in parameters.items() if name not in free]
        others = [p for name, p in parameters.items() if name in free]
        groups: list[dict[str, Any]] = [{"params": decayed}] if decayed else []
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        optimizer = self.default(groups if others else decayed)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self.setup.rate
            if self.setup.decay is not None and group["params"][0] not in _Identity(others):
                group["weight_decay"] = self.setup.decay
                if "decoupled_weight_decay" in group:
                    group["decoupled_weight_decay"] = True
        fuse(optimizer)
        if self.setup.block_rates is not None:
            self._by_block(optimizer, parameters)
        return optimizer

    def _by_block(self, optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
        """Split the optimizer's groups by the blocks of the network."""
        try:
            blocks.split(optimizer, parameters, self.places)
        except TrunkError as error:
            raise SetupError(
                f"block_rates cannot be followed: {error}. Leave block_rates out, and all of the "
                "network is trained at one rate"
            ) from error

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The block of each parameter by name, counted from the head, in the network as trained."""
        member = self.members([0])[0]
        with untouched():
            return blocks.places(self.model(member), self.sample(member.seed))

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The setup's schedule over all steps, with its rates by block."""
        setup = self.setup
        inner = setup.schedule(optimizer, steps) if setup.schedule else None
        if setup.block_rates is None:
            return inner
        return blocks.Blockwise(optimizer, inner, setup.block_rates, setup.epochs, steps)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Autocast where the precision asks for it."""
        if self.setup.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def computing(self) -> contextlib.AbstractContextManager[object]:
        """Where one network computes: autocast, and convolutions in the layout that suits them."""
        if not self.channels_last:
            return self.autocast()
        stack = contextlib.ExitStack()
        stack.enter_context(self.autocast())
        stack.enter_context(convolutions.channels_last())
        return stack

    @cached_property
    def channels_last(self) -> bool:
        """Whether the network is content with channels last: not where it views the maps flat."""
        if self.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return False
        member = self.members([0])[0]
        model, x = self.model(member).eval(), self.sample(member.seed)
        try:
            with seeded(0), torch.no_grad(), convolutions.channels_last() as counted:
                model(x)
        except Exception:
            return False
        return counted.calls > 0


SMALLEST = 8
"""Pixels that an image has at least in each direction."""
SHIFTED = 128
"""Held-out images that are moved."""
DIRECTIONS = ((0, 1), (2, 1), (1, 0), (1, 2))
"""Where the window lies on an image padded by one pixel."""
FITTED = 20_000
"""Training inputs on which input steps are fitted."""
KEPT = 1 << 30
"""Bytes of inputs that are kept as the network takes them; larger data are converted by batch."""


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


SHARED = 8
"""Parts of the same data that plans share, at most."""
_PARTS: WeakKeyDictionary[Data, dict[Any, Part]] = WeakKeyDictionary()
_KEPT: WeakKeyDictionary[Data, dict[Any, tuple[Tensor, Tensor]]] = WeakKeyDictionary()
FUSABLE = (torch.optim.Adam, torch.optim.AdamW)
"""Optimizers whose fused step computes the same; they take dense gradients only."""


def fuse(optimizer: Optimizer) -> None:
    """One kernel for all parameters, where the user left the choice to torch and there is one."""
    if type(optimizer) not in FUSABLE:
        return
    for group in optimizer.param_groups:
        chosen = group["foreach"] is not None or group["fused"] is not None
        ready = all(p.is_floating_point() and p.device.type in FUSING for p in group["params"])
        if ready and not (chosen or group["capturable"] or group["differentiable"]):
            group["fused"] = True


FUSING = ("cpu", "cuda")
"""Devices on which they are fused."""


class _Identity:
    """Membership by identity: tensors compare by elements."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._ids = {id(item) for item in items}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._ids


def undecayed(model: nn.Module) -> frozenset[str]:
    """The names of parameters that a trick marked with ``no_decay``."""
    named = model.named_parameters()
    return frozenset(name for name, p in named if getattr(p, "no_decay", False))
