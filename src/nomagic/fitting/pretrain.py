"""Unsupervised pre-training: the trunk of any network learns from the inputs alone.

What it learns is one of `nomagic.parts.pretext`; the head is left as it was. Everything that is
drawn hangs on the member's seed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.flop_counter import FlopCounterMode

from nomagic.engine.draws import seeded
from nomagic.engine.plan import Member, Part, Plan
from nomagic.parts import trunk
from nomagic.parts.pretext import Kind, PretextError, flat, phases
from nomagic.parts.trunk import Trunk, TrunkError

RATE = 1e-3
STEPS = 1_000
"""Steps that pre-training has at least; more, where the setup's own epochs are more."""
LEAST = 32
"""Samples of the smallest batch."""
SEEN = 2_000
"""Samples that a linear probe is fitted on, and those it is scored on."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A trunk that learned from inputs alone.

    ``state`` has its tensors by name, without the head's; it is empty where the loss became nan.
    ``curve`` is the mean loss of each epoch: the share of the variance that is not restored, in
    nats for tokens and views. ``probe`` is what a linear model on the features scores before and
    after (accuracy, or R² of a regression). ``passes`` is the cost in supervised passes, forward
    and backward, of one sample with the same number of operations.
    """

    kind: Kind
    state: dict[str, Tensor]
    curve: tuple[float, ...]
    probe: tuple[float, float]
    passes: float
    seconds: float

    def says(self) -> str:
        """The same in a sentence."""
        if not self.state:
            return f"{self.kind} pre-training failed: its loss is not finite."
        before, after = self.probe
        return (
            f"{self.kind} pre-training took its loss from {self.curve[0]:.3g} to "
            f"{self.curve[-1]:.3g} in {len(self.curve)} epochs; a linear probe of the features "
            f"went from {before:.3f} to {after:.3f}."
        )


def reason_against(plan: Plan, kind: Kind) -> str:
    """Why this kind makes no sense for a plan; empty if it does."""
    member = plan.members([0])[0]
    try:
        with seeded(0):
            Work(plan, member, kind)
    except (PretextError, TrunkError) as error:
        return str(error)
    return ""


def epochs(plan: Plan, samples: int) -> int:
    """The default length: the setup's epochs, and at least 1,000 steps."""
    return max(plan.setup.epochs, math.ceil(STEPS * batch(plan) / max(samples, batch(plan))))


def batch(plan: Plan) -> int:
    """Samples of a batch."""
    return max(LEAST, plan.setup.batch_size)


def pretrain(
    plan: Plan,
    member: Member,
    kind: Kind,
    length: int = 0,
    pool: Tensor | None = None,
) -> Pretrained:
    """Train the trunk of a member's fresh network on the inputs of its training part.

    Args:
        plan: the setup and its data; its targets are only used by the probe.
        member: whose split, initial weights and draws.
        kind: what is learnt.
        length: in epochs, 0 for the default.
        pool: further inputs without labels (n, *shape), as the data has them.

    Raises:
        PretextError: it makes no sense for these inputs, or for this network.
        TrunkError: the network has no head that could be told from the rest.
    """
    began = time.perf_counter()
    with seeded(member.stream(f"pretrain {kind}")):
        work = Work(plan, member, kind, pool)
        before = probe(plan, work.trunk, member.seed)
        curve = list(work.run(length or epochs(plan, len(work.inputs))))
        fine = math.isfinite(curve[-1])
        after = probe(plan, work.trunk, member.seed) if fine else math.nan
    return Pretrained(
        kind,
        work.trunk.state() if fine else {},
        tuple(curve),
        (before, after),
        len(curve) * len(work.inputs) * work.cost,
        time.perf_counter() - began,
    )


class Inputs:
    """The inputs of a training part and of a pool without labels, as the network sees them."""

    def __init__(self, plan: Plan, seed: int, pool: Tensor | None) -> None:
        self.plan, self.part, self.pool = plan, plan.part(seed), pool
        shape = plan.form.shape
        if pool is not None and tuple(pool.shape[1:]) != shape:
            raise PretextError(
                f"the pool has inputs of shape {tuple(pool.shape[1:])}; expected {shape}, "
                "as those with labels"
            )

    def __len__(self) -> int:
        return len(self.part.train) + (0 if self.pool is None else len(self.pool))

    def __getitem__(self, places: Tensor) -> Tensor:
        """Inputs (n, *shape) of these places."""
        count = len(self.part.train)
        own, others = places[places < count], places[places >= count] - count
        found: list[Tensor] = []
        if len(own):
            found.append(self.plan.fetch(self.part.train[own])[0])
        if self.pool is not None and len(others):
            more = self.pool[others]
            more = more.float() / 255 if more.dtype == torch.uint8 else more
            found.append(
                more.to(self.plan.device, self.plan.dtype if more.is_floating_point() else None)
            )
        return self.plan.prepare(torch.cat(found), self.part.fitted)


class Work:
    """One pre-training: the network, its phases, and what a pass of it costs."""

    def __init__(self, plan: Plan, member: Member, kind: Kind, pool: Tensor | None = None) -> None:
        if plan.form.task == "sequence":
            raise PretextError(
                "the targets of a sequence are its own next tokens: training is unsupervised as "
                "it is, give it more text instead"
            )
        self.plan, self.inputs = plan, Inputs(plan, member.seed, pool)
        some = self.inputs[torch.arange(min(SEEN, len(self.inputs)))]
        self.trunk = trunk.find(plan.model(member), some[:4])
        self.model = self.trunk.model
        form = replace(plan.form, shape=tuple(some.shape[1:]))
        self.phases = [phase.to(plan.device) for phase in phases(self.trunk, some, form, kind)]
        self.cost = _cost(plan, self.model, self.phases, member.seed, some[: batch(plan)])

    def run(self, length: int) -> Iterator[float]:
        """Train each phase for its share of the epochs; the mean loss of each epoch.

        It ends with a loss that is not finite.
        """
        size = max(1, length // len(self.phases))
        for phase in self.phases:
            parameters = [p for p in phase.parameters() if p.requires_grad]
            optimizer = AdamW(parameters, RATE)
            steps = size * len(self._batches())
            schedule = CosineAnnealingLR(optimizer, steps)
            for _ in range(size):
                loss = self._epoch(phase, optimizer, schedule)
                yield loss
                if not math.isfinite(loss):
                    return

    def _epoch(self, phase: nn.Module, optimizer: AdamW, schedule: CosineAnnealingLR) -> float:
        self.model.train()
        batches = self._batches()
        total = torch.zeros((), dtype=torch.float64, device=self.plan.device)
        for places in batches:
            with self.plan.autocast():
                loss = phase(self.inputs[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        return float(total) / len(batches)

    def _batches(self) -> Sequence[Tensor]:
        """The places of each batch of an epoch; a last one of less than half is left out."""
        parts = torch.randperm(len(self.inputs)).split(batch(self.plan))
        short = len(parts) > 1 and 2 * len(parts[-1]) < batch(self.plan)
        return parts[:-1] if short else parts


def _cost(
    plan: Plan, model: nn.Module, phases: Sequence[nn.Module], seed: int, some: Tensor
) -> float:
    """Operations of a pass of one sample, over those of a supervised one; 1 if none are counted."""
    part, before = plan.part(seed), copy.deepcopy(model.state_dict())
    x, y = plan.fetch(part.train[: len(some)])
    x = plan.prepare(x, part.fitted)
    with seeded(0):
        supervised = _operations(lambda: plan.loss(model(x), y)) / len(x)
        ours = sum(_operations(partial(one, some)) for one in phases) / len(some)
    model.load_state_dict(before)
    model.zero_grad()
    return ours / len(phases) / supervised if supervised else 1.0


def _operations(loss: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        loss().backward()
    return counter.get_total_flops()


# -- a linear probe ---------------------------------------------------------------------------


@torch.no_grad()
def probe(plan: Plan, found: Trunk, seed: int) -> float:
    """What ridge regression from features to targets scores on the held-out part.

    The accuracy, or R² of a regression; the trunk is in evaluation mode. nan where features are
    not finite.
    """
    part = plan.part(seed)
    found.model.eval()
    train, held = [_labelled(plan, found, rows[:SEEN], part) for rows in (part.train, part.held)]
    if not all(bool(one[0].isfinite().all()) for one in (train, held)):
        return math.nan
    mean, spread = train[0].mean(0), train[0].std(0, correction=0).clamp(min=1e-9)
    x, asked = ((one[0] - mean) / spread for one in (train, held))
    centre = train[1].mean(0)
    ridge = 1e-2 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(x.T @ x + ridge, x.T @ (train[1] - centre))
    said, wanted = asked @ weights + centre, held[1]
    if plan.form.task == "classification":
        return float((said.argmax(1) == wanted.argmax(1)).double().mean())
    if plan.form.task == "regression":
        rest, whole = (wanted - said).square().sum(), (wanted - wanted.mean(0)).square().sum()
        return float(1 - rest / whole) if float(whole) else math.nan
    return float(((said > 0.5) == (wanted > 0.5)).double().mean())


def _labelled(plan: Plan, found: Trunk, rows: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    """Features (n, features) and targets (n, targets) of rows; each class has a column."""
    features: list[Tensor] = []
    targets: list[Tensor] = []
    for some in rows.split(LEAST * 8):
        x, y = plan.fetch(some)
        features.append(flat(found, plan.prepare(x, part.fitted)).double())
        targets.append(y)
    y = torch.cat(targets)
    if plan.form.task == "classification":
        return torch.cat(features), F.one_hot(y, plan.form.outputs).double()
    return torch.cat(features), y.reshape(len(y), -1).double()
