"""Many members in one program: their parameters stacked, one step for all under `torch.vmap`.

Every tensor of the network gets a first dimension for the members; the forward is mapped over it,
the losses are added up, so that one backward gives each member its own gradient. The optimizer is
torch's own on the stacked parameters, which is each member's update as long as that works element
by element (`ELEMENTWISE`). Norms for clipping are taken per member.
"""

from __future__ import annotations

import contextlib
import copy
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import lr_scheduler

from nomagic.engine import plain
from nomagic.engine.casting import cast
from nomagic.engine.draws import keyed, written_out
from nomagic.engine.plan import Member, Outcome, Plan, undecayed

ELEMENTWISE = frozenset(
    {
        "SGD",
        "Adam",
        "AdamW",
        "NAdam",
        "RAdam",
        "Adamax",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Rprop",
        "ASGD",
    }
)
"""Torch's optimizers whose update of a number reads only that number's own gradient and state."""
CHUNK = 4_096
"""Held-out samples, over all members, that are evaluated at once."""


class NotStackableError(Exception):
    """The setup cannot be trained stacked, and why."""


@dataclass
class Stack:
    """The members' tensors, each with a first dimension for the members."""

    members: list[Member]
    skeleton: nn.Module
    parameters: dict[str, Tensor]
    frozen: dict[str, Tensor]
    buffers: dict[str, Tensor]
    free: frozenset[str]
    fitted: tuple[tuple[Tensor, ...], ...]
    keys: Tensor
    failed: Tensor
    curve: list[Tensor] = field(default_factory=list[Tensor])


@dataclass
class Best:
    """The best epoch of each member."""

    loss: Tensor
    waited: Tensor
    epochs: Tensor
    state: dict[str, Tensor]


def train(plan: Plan, seeds: Sequence[int]) -> list[Outcome]:
    """Train all seeds of a plan at once; the outcomes in the order of the seeds.

    Raises:
        NotStackableError: the model, the optimizer or the data do not allow it.
    """
    with mapped():
        began = time.perf_counter()
        stack = build(plan, plan.members(seeds))
        done = fit(plan, stack)
        seconds = (time.perf_counter() - began) / len(seeds)
        return _conclude(plan, seeds, stack, done, seconds)


@contextlib.contextmanager
def mapped() -> Generator[None]:
    """Where networks are mapped: attention is written out, autocast is heeded, and torch's
    warnings of slow mapping are not told (whether it is too slow is measured).
    """
    with warnings.catch_warnings(), written_out(), cast():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def build(plan: Plan, members: list[Member]) -> Stack:
    """Stack the members' fresh networks."""
    models = [plan.model(member) for member in members]
    parts = [plan.part(member.seed) for member in members]
    if len({len(part.train) for part in parts}) > 1:
        raise NotStackableError("the training parts differ in size")
    named = [dict(model.named_parameters()) for model in models]
    trained = [name for name, p in named[0].items() if p.requires_grad]
    states = [dict(model.named_buffers()) for model in models]
    return Stack(
        members=members,
        skeleton=copy.deepcopy(models[0]),
        parameters={n: _stack(n, named).requires_grad_() for n in trained},
        frozen={n: _stack(n, named) for n in named[0] if n not in trained},
        buffers={name: _stack(name, states) for name in states[0]},
        free=undecayed(models[0]),
        fitted=tuple(
            tuple(torch.stack(values) for values in zip(*steps, strict=True))
            for steps in zip(*(part.fitted for part in parts), strict=True)
        ),
        keys=torch.tensor([member.stream("dropout") for member in members], device=plan.device),
        failed=torch.zeros(len(members), dtype=torch.bool, device=plan.device),
    )


def _stack(name: str, named: Sequence[Mapping[str, Tensor]]) -> Tensor:
    try:
        return torch.stack([tensors[name].detach() for tensors in named])
    except (KeyError, RuntimeError) as error:
        raise NotStackableError(f"the members' networks differ at {name}") from error


class Running:
    """A stack in training, with its optimizer and schedule."""

    def __init__(self, plan: Plan, stack: Stack) -> None:
        self.plan, self.stack = plan, stack
        self.optimizer = plan.optimizer(stack.parameters, stack.free)
        if type(self.optimizer).__name__ not in ELEMENTWISE:
            kind = type(self.optimizer).__name__
            raise NotStackableError(f"{kind} does not update element by element")
        self.scheduler = plan.scheduler(self.optimizer, plan.steps(stack.members[0]))
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            raise NotStackableError("ReduceLROnPlateau looks at the loss of one member")
        self.steps = 0

    def step(self, rows: Tensor) -> Tensor:
        """One step of every member on rows (members, batch); the losses (members,)."""
        plan, stack = self.plan, self.stack
        x, y = plan.fetch(rows)

        def loss(tensors: Any, fitted: Any, key: Tensor, x: Tensor, y: Tensor) -> Tensor:
            with keyed(key, self.steps):
                output = functional_call(stack.skeleton, tensors, (plan.prepare(x, fitted),))
                return plan.loss(output, y)

        tensors = (stack.parameters, stack.frozen, stack.buffers)
        with plan.autocast():
            every = torch.vmap(loss, randomness="different")
            losses = every(tensors, stack.fitted, stack.keys, x, y)
        self.optimizer.zero_grad()
        losses.sum().backward()
        if plan.setup.clip is not None:
            _clip(stack.parameters, plan.setup.clip)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self.steps += 1
        return losses.detach()

    def epoch(self, number: int) -> None:
        """One epoch; the mean losses go onto the curve."""
        stack = self.stack
        stack.skeleton.train()
        orders = [self.plan.batches(member, number) for member in stack.members]
        total = torch.zeros(len(stack.members), device=self.plan.device, dtype=torch.float64)
        for rows in zip(*orders, strict=True):
            total += self.step(torch.stack(rows))
        stack.curve.append(total / max(1, len(orders[0])))
        stack.failed |= ~stack.curve[-1].isfinite()


def fit(plan: Plan, stack: Stack) -> list[int]:
    """Train the stack; how many epochs each member took."""
    run, patience = Running(plan, stack), plan.setup.patience
    best: Best | None = None
    for epoch in range(plan.setup.epochs):
        run.epoch(epoch)
        over = stack.failed
        if patience is not None:
            best = _judge(plan, stack, best, epoch)
            over = over | (best.waited >= patience)
        if bool(over.all()):
            break
    if best is None:
        return [len(stack.curve)] * len(stack.members)
    _restore(stack, best.state)
    return best.epochs.tolist()


def _clip(parameters: dict[str, Tensor], limit: float) -> None:
    """`torch.nn.utils.clip_grad_norm_` for each member."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.reshape(-1, *(1,) * (grad.ndim - 1)).to(grad.dtype))


# -- held-out data ---------------------------------------------------------------------------------


@torch.no_grad()
def outputs_of(plan: Plan, stack: Stack) -> tuple[Tensor, Tensor]:
    """Outputs and targets of each member's held-out part: (members, samples, …)."""
    return outputs_for(plan, stack, _held(plan, stack))


def _held(plan: Plan, stack: Stack) -> Tensor:
    """Each member's held-out rows (members, n)."""
    held = [plan.part(member.seed).held for member in stack.members]
    if len({len(rows) for rows in held}) > 1:
        raise NotStackableError("the held-out parts differ in size")
    return torch.stack(held)


@torch.no_grad()
def outputs_for(plan: Plan, stack: Stack, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each member's outputs and targets of its rows (members, n): (members, n, …)."""
    stack.skeleton.eval()
    tensors = (stack.parameters, stack.frozen, stack.buffers)

    forward = _forward(plan, stack)
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    for some in rows.split(max(1, CHUNK // len(rows)), dim=1):
        x, y = plan.fetch(some)
        with plan.autocast():
            outputs.append(torch.vmap(forward, randomness="different")(tensors, stack.fitted, x))
        targets.append(y)
    return torch.cat(outputs, 1).to(plan.dtype), torch.cat(targets, 1)


def _forward(plan: Plan, stack: Stack, prepared: bool = False) -> Callable[..., Tensor]:
    """One member's forward."""

    def forward(tensors: Any, fitted: Any, x: Tensor) -> Tensor:
        given = x if prepared else plan.prepare(x, fitted)
        return functional_call(stack.skeleton, tensors, (given,))

    return forward


@torch.no_grad()
def _shifted(plan: Plan, stack: Stack) -> Tensor | None:
    """Each member's outputs for its shifted images: (members, 4, n, classes)."""
    images = [plan.shifted(member) for member in stack.members]
    if images[0] is None:
        return None
    x = torch.stack([one for one in images if one is not None])
    tensors = (stack.parameters, stack.frozen, stack.buffers)
    forward = torch.vmap(_forward(plan, stack, prepared=True), randomness="different")
    with plan.autocast():
        found = [forward(tensors, stack.fitted, x[:, i]) for i in range(1, x.shape[1])]
    return torch.stack(found, 1).to(plan.dtype)


def _judge(plan: Plan, stack: Stack, best: Best | None, epoch: int) -> Best:
    """After an epoch: keep the state of the members for which it is the best so far."""
    outputs, targets = outputs_of(plan, stack)
    loss = torch.vmap(plan.loss)(outputs, targets)
    state = {**stack.parameters, **stack.buffers}
    if best is None:
        full = torch.full_like(loss, float("inf"))
        zeros = torch.zeros_like(loss, dtype=torch.long)
        best = Best(full, zeros, zeros.clone(), {n: t.detach().clone() for n, t in state.items()})
    running = best.waited < (plan.setup.patience or 0)
    better = (loss < best.loss) & running
    best.loss = torch.where(better, loss, best.loss)
    best.waited = torch.where(better, 0, best.waited + running)
    best.epochs = torch.where(running, epoch + 1, best.epochs)
    for name, tensor in state.items():
        mask = better.reshape(-1, *(1,) * (tensor.ndim - 1))
        best.state[name] = torch.where(mask, tensor.detach(), best.state[name])
    return best


@torch.no_grad()
def _restore(stack: Stack, state: dict[str, Tensor]) -> None:
    for name, tensor in {**stack.parameters, **stack.buffers}.items():
        tensor.copy_(state[name])


def _conclude(
    plan: Plan, seeds: Sequence[int], stack: Stack, epochs: list[int], seconds: float
) -> list[Outcome]:
    began = time.perf_counter()
    outputs, targets = outputs_of(plan, stack)
    inference = (time.perf_counter() - began) / (outputs.shape[0] * outputs.shape[1])
    moved = _shifted(plan, stack)
    curves = torch.stack(stack.curve, 1).tolist()
    size = sum(t[0].numel() for t in (*stack.parameters.values(), *stack.frozen.values()))
    failed, per = stack.failed.tolist(), plan.setup.members
    return [
        plain.outcome(
            plan,
            seed,
            plain.average(plan, list(outputs[i : i + per])),
            targets[i],
            failed="nan" if any(failed[i : i + per]) else "",
            moved=None if moved is None else plain.average(plan, list(moved[i : i + per])),
            curve=curves[i][: epochs[i]],
            epochs=max(epochs[i : i + per]),
            seconds=seconds,
            inference=inference * per,
            parameters=size * per,
        )
        for i, seed in zip(range(0, len(stack.members), per), seeds, strict=True)
    ]


TRIED = 16
"""Held-out samples that two members are tried on."""


def reason_against(plan: Plan) -> str:
    """Why the setup cannot be trained stacked; empty if two members took a step of it."""
    try:
        with mapped():
            members = plan.members([0, 1])
            run = Running(plan, build(plan, members))
            run.step(torch.stack([plan.batches(member, 0)[0] for member in members]))
            outputs_for(plan, run.stack, _held(plan, run.stack)[:, :TRIED])
    except NotStackableError as error:
        return str(error)
    except Exception as error:
        lines = str(error).splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    return ""
