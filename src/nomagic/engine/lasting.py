"""Training that can be killed at any moment: after each epoch everything is on disk.

One file holds weights, the best weights so far, the optimizer's state and the curves; it is
replaced as a whole, so that there is always a good one. What a member draws hangs on its seed, the
epoch and the step alone, so that a training that goes on from there ends with the same bits as one
that was never interrupted. Files are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import random
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nomagic.engine import plain, scores, stacked
from nomagic.engine.draws import generator, seeded, stream
from nomagic.engine.plan import Member, Plan

VERSION = 1
SEEN = 1_000
"""Training samples that are scored after each epoch, in evaluation mode."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read: says why, and what is left."""


@dataclass
class Curves:
    """What was seen of one member after each epoch.

    ``loss`` is the training loss as it was minimised, ``train`` and ``held`` the metrics on a part
    of the training data and on the held-out part, in evaluation mode.
    """

    loss: list[float] = field(default_factory=list[float])
    train: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    held: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    best: int = -1
    failed: str = ""

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.loss)


@dataclass
class Result:
    """The trained networks, each as it was after its best epoch, and their curves."""

    networks: list[nn.Module]
    curves: list[Curves]


Tell = Callable[[int, Sequence[Curves]], None]
"""Told the epochs done and the curves after each epoch."""


def train(
    plan: Plan,
    seed: int,
    file: Path,
    *,
    together: bool,
    tell: Tell | None = None,
    every: int = 1,
) -> Result:
    """Train all members of one seed, going on from ``file`` where it exists.

    The best epoch of each member counts: by the deciding metric on the held-out part, ties by the
    loss. With `Setup.patience` a member stops after so many epochs without a better one.

    Args:
        plan: what is trained.
        seed: whose split, members and draws.
        file: the checkpoint; with several members that are trained one after the other, its name
            gets their number.
        together: train the members stacked in one program.
        tell: called after each epoch.
        every: write after so many epochs; fewer are not worth their time where an epoch takes
            milliseconds.

    Raises:
        CheckpointError: the disk is full, or the file is of another training; what was written
            last is kept.
    """
    members = plan.members([seed])
    if together and len(members) > 1:
        with stacked.mapped():
            return _train(_Together(plan, members), file, tell, every)
    parts = [
        _train(_Alone(plan, member), _numbered(file, member.number, len(members)), tell, every)
        for member in members
    ]
    return Result(
        [one for part in parts for one in part.networks],
        [one for part in parts for one in part.curves],
    )


def _numbered(file: Path, number: int, count: int) -> Path:
    return file if count == 1 else file.with_stem(f"{file.stem}-{number}")


# -- one network, or many at once ---------------------------------------------------------------


class _Trained(Protocol):
    """What both have in common."""

    plan: Plan
    members: list[Member]
    optimizer: Optimizer
    scheduler: LRScheduler | None
    run: Any

    def epoch(self, number: int) -> list[float]: ...
    def outputs(self, rows: Tensor) -> tuple[Tensor, Tensor]: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def keep(self, best: dict[str, Tensor], better: Sequence[bool]) -> None: ...
    def networks(self, best: dict[str, Tensor]) -> list[nn.Module]: ...


class _Alone:
    """One network."""

    def __init__(self, plan: Plan, member: Member) -> None:
        self.plan, self.members = plan, [member]
        self.run = plain.Running(plan, member)
        self.optimizer, self.scheduler = self.run.optimizer, self.run.scheduler

    def epoch(self, number: int) -> list[float]:
        return [self.run.epoch(self.plan.batches(self.members[0], number))]

    def outputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        part = plain.Part(rows, rows, self.run.part.fitted)
        outputs, targets = plain.outputs_of(self.plan, self.run.model, part)
        return outputs.unsqueeze(0), targets

    def tensors(self) -> dict[str, Tensor]:
        model = self.run.model
        return {**dict(model.named_parameters()), **dict(model.named_buffers())}

    def keep(self, best: dict[str, Tensor], better: Sequence[bool]) -> None:
        if better[0]:
            best |= {name: tensor.detach().clone() for name, tensor in self.tensors().items()}

    def networks(self, best: dict[str, Tensor]) -> list[nn.Module]:
        _copy(self.tensors(), best)
        return [self.run.model.eval()]


class _Together:
    """Many networks in one program."""

    def __init__(self, plan: Plan, members: list[Member]) -> None:
        self.plan, self.members = plan, members
        self.stack = stacked.build(plan, members)
        self.run = stacked.Running(plan, self.stack)
        self.optimizer, self.scheduler = self.run.optimizer, self.run.scheduler

    def epoch(self, number: int) -> list[float]:
        self.run.epoch(number)
        return self.stack.curve[-1].tolist()

    def outputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        outputs, targets = stacked.outputs_for(
            self.plan, self.stack, rows.expand(len(self.members), -1)
        )
        return outputs, targets[0]

    def tensors(self) -> dict[str, Tensor]:
        return {**self.stack.parameters, **self.stack.frozen, **self.stack.buffers}

    def keep(self, best: dict[str, Tensor], better: Sequence[bool]) -> None:
        for name, tensor in self.tensors().items():
            kept = best.setdefault(name, tensor.detach().clone())
            for number, one in enumerate(better):
                if one:
                    kept[number] = tensor[number].detach()

    def networks(self, best: dict[str, Tensor]) -> list[nn.Module]:
        found: list[nn.Module] = []
        for number in range(len(self.members)):
            model = copy.deepcopy(self.stack.skeleton)
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            _copy(own, {name: tensor[number] for name, tensor in best.items()})
            found.append(model.eval())
        return found


# -- the loop -----------------------------------------------------------------------------------


def _train(one: _Trained, file: Path, tell: Tell | None, every: int) -> Result:
    plan = one.plan
    best: dict[str, Tensor] = {}
    curves = [Curves() for _ in one.members]
    if file.exists():
        curves, best = _read(file, one)
    while going := [curve for curve in curves if not _over(plan, curve)]:
        epoch = going[0].epochs
        with _drawing(one.members[0], epoch):
            losses = one.epoch(epoch)
        found = _scores(one)
        one.keep(best, [_see(plan, *each) for each in zip(curves, losses, found, strict=True)])
        over = all(_over(plan, curve) for curve in curves)
        if over or (epoch + 1) % every == 0:
            _write(file, one, best, curves)
        if tell is not None:
            tell(epoch + 1, curves)
    networks = one.networks(best) if best else []
    good = [curve.best >= 0 for curve in curves]
    return Result([net for net, kept in zip(networks, good, strict=False) if kept], curves)


def _over(plan: Plan, curve: Curves) -> bool:
    """Whether a member is at its end: all epochs, a failure, or no better epoch for long."""
    patience = plan.setup.patience
    waited = patience is not None and curve.epochs - 1 - curve.best >= patience
    return bool(curve.failed) or waited or curve.epochs >= plan.setup.epochs


@contextlib.contextmanager
def _drawing(member: Member, epoch: int) -> Generator[None]:
    """Random numbers of the user's own code (noise in a forward, a random Dataset) by the epoch."""
    seed = stream(member.stream("noise"), "epoch", epoch)
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with seeded(seed):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


Scored = tuple[dict[str, float], dict[str, float]]
"""The metrics on some of the training data and on the held-out part; empty if not finite."""


@torch.no_grad()
def _scores(one: _Trained) -> list[Scored]:
    """Of each member, in evaluation mode."""
    plan, seed = one.plan, one.members[0].seed
    part = plan.part(seed)
    order = torch.randperm(len(part.train), generator=generator(stream(seed, "seen")))
    trained, held = (one.outputs(rows) for rows in (part.train[order[:SEEN]], part.held))
    return [
        (_score(plan, before, trained[1]), _score(plan, after, held[1]))
        for before, after in zip(trained[0], held[0], strict=True)
    ]


def _score(plan: Plan, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    if not bool(outputs.isfinite().all()):
        return {}
    return scores.score(plan.setup, plan.form.task, outputs, targets)


def _see(plan: Plan, curve: Curves, loss: float, found: Scored) -> bool:
    """Add an epoch to the curves of a member that is not at its end; whether it is the best."""
    if _over(plan, curve):
        return False
    curve.loss.append(loss)
    if not (math.isfinite(loss) and all(found)):
        curve.failed = "nan"
        return False
    for table, values in zip((curve.train, curve.held), found, strict=True):
        for name, value in values.items():
            table.setdefault(name, []).append(value)
    if curve.best < 0 or _rank(plan, curve, -1) > _rank(plan, curve, curve.best):
        curve.best = curve.epochs - 1
        return True
    return False


def _rank(plan: Plan, curve: Curves, epoch: int) -> tuple[float, float]:
    """How good an epoch is: by the deciding metric, ties by the loss."""
    value = curve.held[plan.metric][epoch]
    return (value if plan.higher else -value), -curve.held["loss"][epoch]


# -- on disk ------------------------------------------------------------------------------------


def _write(file: Path, one: _Trained, best: Mapping[str, Tensor], curves: Sequence[Curves]) -> None:
    """Replace the checkpoint by a new one, as a whole."""
    tensors = {f"now.{name}": tensor.detach() for name, tensor in one.tensors().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    facts = {
        "version": VERSION,
        "identity": identity(one.plan, one.members),
        "steps": one.run.steps,
        "curves": [asdict(curve) for curve in curves],
        "optimizer": _taken(one.optimizer.state_dict(), "optimizer", tensors),
    }
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    try:
        replace_file(file, as_bytes(whole, {"facts": json.dumps(facts)}))
    except OSError as error:
        epoch = max(curve.epochs for curve in curves)
        raise CheckpointError(
            f"cannot write the checkpoint of epoch {epoch}, {file}: {error.strerror}; the last "
            "good one is kept: make room and run the same command again"
        ) from error


def replace_file(file: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with new.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _read(file: Path, one: _Trained) -> tuple[list[Curves], dict[str, Tensor]]:
    """Put a training back to where the checkpoint was written."""
    try:
        with safe_open(str(file), "pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"{file} is no checkpoint ({error}); remove it") from error
    if facts.get("version") != VERSION or facts["identity"] != identity(one.plan, one.members):
        raise CheckpointError(f"{file} is the checkpoint of another training; remove it")
    device = one.plan.device
    _copy(one.tensors(), _below("now", tensors, device))
    one.run.steps = facts["steps"]
    if one.scheduler is not None:
        _forward(one.scheduler, one.run.steps)
    one.optimizer.load_state_dict(_given(facts["optimizer"], tensors))
    return [Curves(**curve) for curve in facts["curves"]], _below("best", tensors, device)


def identity(plan: Plan, members: Iterable[Member]) -> dict[str, Any]:
    """What a checkpoint must have been made with, beside the setup's own code."""
    setup, rates = plan.setup, plan.setup.block_rates
    return {
        "members": [[one.seed, one.number, one.draw] for one in members],
        "epochs": setup.epochs,
        "batch size": setup.batch_size,
        "rate": setup.rate,
        "precision": setup.precision,
        "samples": len(plan.data),
        **({"block rates": asdict(rates)} if rates else {}),
    }


@torch.no_grad()
def _copy(into: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    if into.keys() != values.keys():
        raise CheckpointError(
            f"a checkpoint has not the tensors {sorted(into.keys() ^ values.keys())[:5]}"
        )
    for name, tensor in into.items():
        tensor.copy_(values[name])


def _below(prefix: str, tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _forward(scheduler: LRScheduler, steps: int) -> None:
    """A fresh schedule after so many steps; a schedule depends on nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        for _ in range(steps):
            scheduler.step()


def _taken(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A nested state as JSON takes it; its tensors go to ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, Mapping):
        pairs = [(key, _taken(inner, f"{name}.{key}", tensors)) for key, inner in value.items()]  # pyright: ignore[reportUnknownVariableType]
        return {"table": pairs}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_taken(inner, f"{name}.{i}", tensors) for i, inner in enumerate(value)]}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(
        f"the optimizer keeps a {type(value).__name__} ({name}), which a checkpoint cannot hold; "
        "use one of torch's own"
    )


def _given(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The nested state that `_taken` wrote."""
    if not isinstance(plain, dict):
        return plain
    (kind, value), *_ = plain.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "table":
        return {key: _given(inner, tensors) for key, inner in value}
    items = [_given(inner, tensors) for inner in value]
    return tuple(items) if kind == "tuple" else items
