"""Fine-tuning: a network starts from given weights, and its last layers learn more than the first.

How is a `Tuning`: which blocks are trained, at what rate each, when they are opened, and whether
batch norm keeps its statistics. A `TunedPlan` is a plan like others, so that every trainer trains
it: alone or stacked, killed and resumed. Sources: Howard & Ruder 2018 (rates by layer, gradual
unfreezing); the rule by the number of samples is a starting point, which `compare` can overturn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nomagic.described import describe
from nomagic.engine import plain, scores
from nomagic.engine.plan import Member, Outcome, Plan
from nomagic.parts import trunk
from nomagic.parts.trunk import Block, Freeze, Loaded, Norms, Start
from nomagic.trial.statistics import Judgement, Pairs, judge
from nomagic.words import Edit, Picture, Series, Stage

FEW, MANY = 1_000, 20_000
"""Training samples up to which the head is trained first, and from which all is."""
STEADY, BATCH = 5_000, 16
"""Training samples, and samples of a batch, below which batch norm keeps its statistics."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a network is trained from given weights.

    ``depth`` is the number of blocks that are trained, counted from the head; 0 is all. ``trunk``
    is the rate of the trunk over the head's, ``factor`` that of each block of the trunk over
    the one behind it. ``opening`` is the share of the epochs over which blocks are opened one after
    the other, from the head on; a block that is not yet open has rate 0. ``norms`` is what batch
    norm does. ``given`` is False for the control that starts from scratch.
    """

    name: str
    depth: int = 0
    trunk: float = 1.0
    factor: float = 1.0
    opening: float = 0.0
    norms: Norms = "move"
    given: bool = True

    def rate(self, above: int) -> float:
        """The factor on the learning rate of a block with so many between it and the head, + 1."""
        return self.trunk * self.factor ** (above - 1) if above else 1.0

    def epoch(self, above: int, blocks: int, epochs: int) -> int:
        """The epoch in which a block is opened, of so many."""
        opened = min(self.depth or blocks, blocks)
        return round(self.opening * epochs * above / max(1, opened - 1))


SCRATCH = Tuning("scratch", given=False)
ARMS = (
    Tuning("head", depth=1),
    Tuning("last block", depth=2),
    Tuning("head, then last block", depth=2, opening=0.5),
    Tuning("all", trunk=1.0),
    Tuning("all, slow trunk", trunk=0.1),
    Tuning("discriminative", trunk=0.8, factor=0.8),
    Tuning("gradual", trunk=0.8, factor=0.8, opening=0.5),
)
"""What can be compared with training from scratch, and with each other."""


def rule(samples: int, batch_size: int) -> Tuning:
    """What to begin with, by the number of training samples.

    Below 1,000 the head, then the last block; up to 20,000 the last block; above all of it, with
    rates by block. Batch norm keeps its statistics below 5,000, and with small batches.
    """
    name = "head, then last block" if samples < FEW else "last block"
    name = "discriminative" if samples > MANY else name
    found = next(arm for arm in ARMS if arm.name == name)
    return replace(found, norms=norms(samples, batch_size))


def norms(samples: int, batch_size: int) -> Norms:
    """What batch norm should do: with few samples, or in small batches, it keeps its statistics."""
    return "keep" if samples < STEADY or batch_size < BATCH else "move"


class TunedPlan(Plan):
    """A plan whose networks start from given weights and are trained as a `Tuning` says.

    Args:
        plan: the setup and its data.
        tuning: how.
        weights: tensors by name, as `nomagic.parts.trunk.read` gives them; what does not fit
            (another number of classes) is made afresh.

    Raises:
        TrunkError: the network has no head that could be told from the rest, or nothing fits.
    """

    def __init__(self, plan: Plan, tuning: Tuning, weights: Mapping[str, Tensor]) -> None:
        super().__init__(plan.setup, plan.data)
        self.tuning, self.weights = tuning, weights
        self.loaded: Loaded | None = None

    def model(self, member: Member) -> nn.Module:
        """The member's network, with the given weights, its first blocks frozen."""
        model = super().model(member)
        if not self.tuning.given:
            return model
        sample = self.sample(member.seed)
        self.loaded = trunk.load(trunk.find(model, sample), self.weights)
        return Freeze(self.tuning.depth, self.tuning.norms)(model, sample)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of a network, the head first."""
        member = self.members([0])[0]
        found = trunk.find(super().model(member), self.sample(member.seed))
        return found.blocks[::-1]

    def optimizer(self, parameters: Mapping[str, Tensor], free: frozenset[str]) -> Optimizer:
        """The setup's optimizer with groups of parameters for the blocks, each at its rate."""
        optimizer = super().optimizer(parameters, free)
        if self.tuning.given:
            names = {id(p): name for name, p in parameters.items()}
            groups = optimizer.param_groups
            groups[:] = [one for group in groups for one in self._by_block(group, names)]
        return optimizer

    def _by_block(self, group: dict[str, Any], names: Mapping[int, str]) -> list[dict[str, Any]]:
        """One group of parameters by block; ``block`` counts from the head."""
        found: list[dict[str, Any]] = []
        for above, block in enumerate(self.blocks):
            own = [p for p in group["params"] if names[id(p)] in block.parameters]
            if own:
                rate = group["lr"] * self.tuning.rate(above)
                found.append({**group, "params": own, "lr": rate, "block": above})
        return found

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The setup's schedule, with blocks that are opened one after the other."""
        inner = super().scheduler(optimizer, steps)
        if not (self.tuning.given and self.tuning.opening):
            return inner
        epochs = self.setup.epochs
        opens = [
            self.tuning.epoch(group["block"], len(self.blocks), epochs) * steps // epochs
            for group in optimizer.param_groups
        ]
        return Opening(optimizer, inner, opens)


class Opening(LRScheduler):
    """Another schedule, or none, with a rate of 0 for each group until its step has come."""

    def __init__(
        self, optimizer: Optimizer, inner: LRScheduler | None, opens: Sequence[int]
    ) -> None:
        self.inner, self.opens = inner, opens
        self.rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group."""
        if self.inner is not None and self.last_epoch:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate
            self.inner.step()
            self.rates = [group["lr"] for group in self.optimizer.param_groups]
        return [
            rate if self.last_epoch >= opened else 0.0
            for rate, opened in zip(self.rates, self.opens, strict=True)
        ]


# -- what pays --------------------------------------------------------------------------------


def compare(
    plan: Plan,
    weights: Mapping[str, Tensor],
    seeds: Sequence[int],
    arms: Sequence[Tuning] = ARMS,
    file: str = "",
    tell: Callable[[str, int], None] | None = None,
) -> Stage:
    """Train each arm and its control from scratch on the same seeds, and say which to take.

    A pair shares the split, the fresh head, the order and the length in epochs. The arm with the
    largest proven gain is taken, of equal ones the first; where nothing is proven, none is.

    Args:
        plan: the setup and its data.
        weights: the given weights.
        seeds: six or more, so that anything can be proven.
        arms: what is compared.
        file: where the weights are, to be written into the setup; without it, nothing is changed.
        tell: told the arm and the seeds done.
    """
    began = time.perf_counter()
    kept = norms(len(plan.part(seeds[0]).train), plan.setup.batch_size)
    arms = [replace(arm, norms=kept if arm.norms == "move" else arm.norms) for arm in arms]
    plans = {arm.name: TunedPlan(plan, arm, weights) for arm in (SCRATCH, *arms)}
    found: dict[str, list[float]] = {}
    for name, tuned in plans.items():
        outcomes = plain.train(tuned, seeds)
        found[name] = [score(plan, outcome) for outcome in outcomes]
        if tell is not None:
            tell(name, len(seeds))
    pairs = {arm.name: Pairs(found["scratch"], found[arm.name]) for arm in arms}
    judged = judge(pairs, (len(seeds),))
    taken = best(judged)
    chosen = next((arm for arm in arms if arm.name == taken), None)
    loaded = plans[arms[0].name].loaded
    points = plan.metric in scores.PERCENT
    edits = changed(plan, file, chosen) if file and chosen else {}
    return Stage(
        "fine-tune",
        says=(
            *(loaded.says() if loaded else ()),
            *(f"{name}: {told(one, points)} against scratch." for name, one in judged.items()),
            f"Taken: {taken}." if taken else "Nothing is proven to be better than scratch.",
        ),
        numbers={
            "metric": plan.metric,
            "seeds": list(seeds),
            "scores": {name: [finite(one) for one in many] for name, many in found.items()},
            "judged": {name: numbers(one) for name, one in judged.items()},
            "taken": asdict(chosen) if chosen else None,
        },
        pictures=(_picture(plan, judged, points),),
        change=edits,
        seconds=time.perf_counter() - began,
    )


def changed(plan: Plan, file: str, arm: Tuning) -> dict[str, Any]:
    """The edits of the setup that start from a file and freeze what the arm does not train."""
    start = Edit("start-from", Start(file, trunk.digest(file)))
    freeze = Edit(f"fine-tune-{arm.name}", Freeze(arm.depth, arm.norms))
    return {"edits": describe((*plan.setup.edits, start, freeze))}


def score(plan: Plan, outcome: Outcome) -> float:
    """The deciding metric of a run, the better the higher; nan where it failed."""
    value = outcome.scores.get(plan.metric, math.nan)
    return value if plan.higher else -value


def best(judged: Mapping[str, Judgement]) -> str:
    """The arm with the largest proven gain, or none."""
    helps = {name: one.effect for name, one in judged.items() if one.decision == "HELPS"}
    return max(helps, key=lambda name: helps[name], default="")


def told(judged: Judgement, points: bool) -> str:
    """What a judgement says, in a few words: "brings +6.1 pt (3.2 … 9.0)"."""
    scale, unit, form = (100, " pt", ".1f") if points else (1, "", ".3g")
    effect = f"{scale * judged.effect:+{form}}{unit}"
    ends = (judged.low, judged.high)
    if all(math.isfinite(end) for end in ends):
        effect += " (" + " … ".join(f"{scale * end:{form}}" for end in ends) + ")"
    return {
        "HELPS": f"brings {effect}",
        "HURTS": f"hurts, {effect}",
        "NO DIFFERENCE THAT MATTERS": f"brings nothing that matters, {effect}",
        "NOT WORTH IT": f"is not worth it, {effect}",
    }.get(judged.decision, f"is open, {effect}, with {judged.pairs} pairs")


def numbers(judged: Judgement) -> dict[str, Any]:
    """A judgement as plain values; an end of the interval that is not known is None."""
    return {
        name: finite(value)
        if isinstance(value, float)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in asdict(judged).items()
    }


def finite(value: float) -> float | None:
    """A number, or None where it is none: files have no nan."""
    return value if math.isfinite(value) else None


def _picture(plan: Plan, judged: Mapping[str, Judgement], points: bool) -> Picture:
    scale = 100 if points else 1
    return Picture(
        "What fine-tuning brings",
        "The gain over training from scratch, on the same seeds, by how much of the network is "
        "trained; bars that cross zero are not proven.",
        "how it is trained",
        f"gain in {plan.metric}" + (" (pt)" if points else ""),
        (
            Series(
                "against scratch",
                tuple(judged),
                tuple(scale * one.effect for one in judged.values()),
                tuple(scale * one.low for one in judged.values()),
                tuple(scale * one.high for one in judged.values()),
                kind="bars",
            ),
        ),
    )
