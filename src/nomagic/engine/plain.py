"""The plain trainer: one member after the other, an ordinary PyTorch loop.

It is what the other engines must agree with, and what models run on that cannot be stacked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nomagic.engine import scores
from nomagic.engine.draws import keyed
from nomagic.engine.plan import Member, Outcome, Part, Plan, undecayed
from nomagic.words import Task

CHUNK = 2_048
"""Held-out samples evaluated at once."""


@dataclass
class Best:
    """The best epoch so far, and how long ago that was."""

    loss: float = math.inf
    state: dict[str, Tensor] | None = None
    waited: int = 0

    def see(self, loss: float, model: nn.Module) -> None:
        """An epoch is over: keep its state if it is the best."""
        if loss < self.loss:
            self.loss, self.waited = loss, 0
            self.state = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            self.waited += 1


@dataclass
class Trained:
    """A trained network and how it went."""

    member: Member
    model: nn.Module
    curve: list[float] = field(default_factory=list[float])
    failed: str = ""
    epochs: int = 0


def train(plan: Plan, seeds: Iterable[int]) -> list[Outcome]:
    """Train each seed of a plan on its own; the outcomes in the order of the seeds."""
    outcomes: list[Outcome] = []
    for seed in seeds:
        began = time.perf_counter()
        trained = [fit(plan, member) for member in plan.members([seed])]
        outcomes.append(conclude(plan, seed, trained, time.perf_counter() - began))
    return outcomes


class Running:
    """One network in training, with its optimizer and schedule."""

    def __init__(self, plan: Plan, member: Member) -> None:
        self.plan = plan
        self.part = plan.part(member.seed)
        self.model = plan.model(member)
        named = self.model.named_parameters()
        self.parameters = {name: p for name, p in named if p.requires_grad}
        self.optimizer = plan.optimizer(self.parameters, undecayed(self.model))
        self.scheduler = plan.scheduler(self.optimizer, plan.steps(member))
        self.key = torch.tensor(member.stream("dropout"), device=plan.device)
        self.steps = 0

    def step(self, rows: Tensor) -> Tensor:
        """One step on these rows of the data; the loss."""
        plan, clip = self.plan, self.plan.setup.clip
        x, y = plan.fetch(rows)
        with plan.computing(), keyed(self.key, self.steps):
            loss = plan.loss(self.model(plan.prepare(x, self.part.fitted)), y)
        self.optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self.steps += 1
        return loss.detach()

    def epoch(self, batches: Sequence[Tensor]) -> float:
        """One epoch; the mean loss."""
        self.model.train()
        total = torch.zeros((), device=self.plan.device, dtype=torch.float64)
        for rows in batches:
            total += self.step(rows)
        return float(total) / max(1, len(batches))


def fit(plan: Plan, member: Member) -> Trained:
    """Train one network."""
    patience = plan.setup.patience
    run, best = Running(plan, member), Best()
    trained = Trained(member, run.model)
    for epoch in range(plan.setup.epochs):
        trained.curve.append(run.epoch(plan.batches(member, epoch)))
        trained.epochs = epoch + 1
        if not math.isfinite(trained.curve[-1]):
            trained.failed = "nan"
            break
        if patience is not None:
            best.see(held_out_loss(plan, run.model, run.part), run.model)
            if best.waited >= patience:
                break
    if best.state is not None:
        run.model.load_state_dict(best.state)
    return trained


def held_out_loss(plan: Plan, model: nn.Module, part: Part) -> float:
    """The training loss function on the held-out part, in evaluation mode."""
    outputs, targets = outputs_of(plan, model, part)
    return float(plan.loss(outputs, targets))


@torch.no_grad()
def outputs_of(plan: Plan, model: nn.Module, part: Part) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the held-out part."""
    model.eval()
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    for rows in part.held.split(CHUNK):
        x, y = plan.fetch(rows)
        with plan.computing():
            outputs.append(model(plan.prepare(x, part.fitted)))
        targets.append(y)
    return torch.cat(outputs).to(plan.dtype), torch.cat(targets)


def conclude(plan: Plan, seed: int, trained: Sequence[Trained], seconds: float) -> Outcome:
    """The outcome of one seed; the networks of an ensemble are averaged."""
    part = plan.part(seed)
    began = time.perf_counter()
    held = [outputs_of(plan, one.model, part) for one in trained]
    spent = time.perf_counter() - began
    outputs = average(plan, [found for found, _ in held])
    moved = [found for one in trained if (found := _shifted(plan, one)) is not None]
    return outcome(
        plan,
        seed,
        outputs,
        held[0][1],
        moved=average(plan, moved) if moved else None,
        curve=trained[0].curve,
        failed=next((one.failed for one in trained if one.failed), ""),
        epochs=max(one.epochs for one in trained),
        seconds=seconds,
        inference=spent / max(1, len(part.held)),
        parameters=sum(p.numel() for one in trained for p in one.model.parameters()),
    )


def average(plan: Plan, outputs: Sequence[Tensor]) -> Tensor:
    """The logits of the mean probability, or the mean output of a regression."""
    if len(outputs) == 1:
        return outputs[0]
    return averaged(torch.stack(list(outputs)), plan.form.task)


def averaged(outputs: Tensor, task: Task) -> Tensor:
    """The same of outputs (members, n, …) of a task; float64."""
    outputs = outputs.double()
    if task == "regression":
        return outputs.mean(0)
    if task in ("binary", "multi-label"):
        return torch.special.logit(outputs.sigmoid().mean(0), eps=1e-12)
    return outputs.log_softmax(-1).logsumexp(0) - math.log(len(outputs))


@torch.no_grad()
def _shifted(plan: Plan, trained: Trained) -> Tensor | None:
    """Outputs for the shifted images: (4, n, classes)."""
    x = plan.shifted(trained.member)
    if x is None:
        return None
    with plan.computing():
        return trained.model(x[1:].flatten(0, 1)).to(plan.dtype).unflatten(0, (len(x) - 1, -1))


def outcome(
    plan: Plan,
    seed: int,
    outputs: Tensor,
    targets: Tensor,
    failed: str,
    moved: Tensor | None = None,
    **facts: Any,
) -> Outcome:
    """Score one seed; outputs that are not finite are a failure.

    Args:
        plan: what was trained.
        seed: the seed.
        outputs: of the held-out part (n, …).
        targets: the same part's.
        failed: why training failed, or empty.
        moved: outputs for the same part's first images, shifted (4, n, …).
        facts: the other fields of the outcome.
    """
    if not failed and not bool(outputs.isfinite().all()):
        failed = "nan"
    found = {} if failed else scores.score(plan.setup, plan.form.task, outputs, targets)
    if moved is not None and not failed:
        found["flips"] = scores.flips(outputs, moved)
    return Outcome(seed, found, failed=failed, **facts)
