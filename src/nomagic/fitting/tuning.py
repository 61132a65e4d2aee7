"""Fine-tuning: a network starts from given weights, and its last layers learn more than the first.

How is a `Tuning`: which blocks are trained, at what rate each, when they are opened, and whether
batch norm keeps its statistics. It is told to a setup as two edits and its rates by block, so that
whatever trains a setup fine-tunes it. Sources: Howard & Ruder 2018 (rates by layer, gradual
unfreezing); the order by the number of samples is a starting point, which `compare` can overturn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nomagic import described
from nomagic.engine import plain, scores
from nomagic.engine.plan import Outcome, Plan
from nomagic.parts import trunk
from nomagic.parts.trunk import Freeze, Loaded, Norms, Start
from nomagic.trial.statistics import Judgement, Pairs, judge
from nomagic.words import BlockRates, Edit, Picture, Series, Setup, Stage

FEW, MANY = 1_000, 20_000
"""Training samples up to which the head is trained first, and from which all is."""
STEADY, BATCH = 5_000, 16
"""Training samples, and samples of a batch, below which batch norm keeps its statistics."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a network is trained from given weights.

    ``depth`` is the number of blocks that are trained, counted from the head; 0 is all. ``rates``
    are those of the blocks, None for one rate, and ``norms`` is what batch norm does.
    """

    name: str
    depth: int = 0
    rates: BlockRates | None = None
    norms: Norms = "move"

    def told(self, setup: Setup, file: str | Path) -> Setup:
        """The setup that starts from the weights in a file and trains them so."""
        place = Path(file).absolute()
        start = Edit("start-from", Start(str(place), trunk.digest(place)))
        freeze = Edit(f"fine-tune-{self.name}", Freeze(self.depth, self.norms))
        return replace(setup, edits=(*setup.edits, start, freeze), block_rates=self.rates)


HEAD = Tuning("head", depth=1)
LAST = Tuning("last block", depth=2)
HEAD_FIRST = Tuning("head, then last block", depth=2, rates=BlockRates(opening=0.5))
ALL = Tuning("all")
SLOW = Tuning("all, slow trunk", rates=BlockRates(trunk=0.1))
DISCRIMINATIVE = Tuning("discriminative", rates=BlockRates(trunk=0.8, factor=0.8))
GRADUAL = Tuning("gradual", rates=BlockRates(trunk=0.8, factor=0.8, opening=0.5))
ARMS = (HEAD, LAST, HEAD_FIRST, ALL, SLOW, DISCRIMINATIVE, GRADUAL)
"""What can be compared with training from scratch, and with each other."""
SCRATCH = "scratch"
"""The control: the setup as it is, without the weights."""


def promising(samples: int, batch_size: int) -> tuple[Tuning, ...]:
    """All arms for so many training samples, the most promising first.

    The first is the rule: below 1,000 the head, then the last block; up to 20,000 the last block;
    above all of it, with rates by block. Those that move the whole network gently come next: they
    often win with few samples, too. Batch norm keeps its statistics below 5,000 samples, and in
    batches below 16.
    """
    if samples < FEW:
        arms = (HEAD_FIRST, GRADUAL, DISCRIMINATIVE, LAST, SLOW, HEAD, ALL)
    elif samples <= MANY:
        arms = (LAST, DISCRIMINATIVE, GRADUAL, HEAD_FIRST, SLOW, ALL, HEAD)
    else:
        arms = (DISCRIMINATIVE, GRADUAL, SLOW, ALL, LAST, HEAD_FIRST, HEAD)
    few = samples < STEADY or batch_size < BATCH
    return tuple(replace(arm, norms="keep") for arm in arms) if few else arms


# -- what pays --------------------------------------------------------------------------------


def compare(
    plan: Plan,
    file: str | Path,
    seeds: Sequence[int],
    arms: Sequence[Tuning] = ARMS,
    tell: Callable[[str, int], None] | None = None,
) -> Stage:
    """Train each arm and the setup from scratch on the same seeds, and say which to take.

    A pair shares the split, the fresh head, the order and the length in epochs. The arm with the
    largest proven gain is taken, of equal ones the first; where nothing is proven, none is.

    Args:
        plan: the setup and its data.
        file: the given weights, as safetensors; what does not fit (another number of classes) is
            made afresh.
        seeds: six or more, so that anything can be proven.
        arms: what is compared.
        tell: told the arm and the seeds done.

    Raises:
        TrunkError: the network has no head that could be told from the rest, or nothing fits.
    """
    began = time.perf_counter()
    says = fitting(plan, file, seeds[0]).says()
    setups = {SCRATCH: plan.setup} | {arm.name: arm.told(plan.setup, file) for arm in arms}
    found: dict[str, list[float]] = {}
    for name, setup in setups.items():
        outcomes = plain.train(Plan(setup, plan.data), seeds)
        found[name] = [score(plan, outcome) for outcome in outcomes]
        if tell is not None:
            tell(name, len(seeds))
    pairs = {arm.name: Pairs(found[SCRATCH], found[arm.name]) for arm in arms}
    judged = judge(pairs, (len(seeds),))
    taken = best(judged)
    chosen = next((arm for arm in arms if arm.name == taken), None)
    points = plan.metric in scores.PERCENT
    return Stage(
        "fine-tune",
        says=(
            *says,
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
        change=changed(plan, file, chosen) if chosen else {},
        seconds=time.perf_counter() - began,
    )


def fitting(plan: Plan, file: str | Path, seed: int) -> Loaded:
    """Which of the weights in a file fit the setup's network.

    Raises:
        TrunkError: it is no such file, the network has no head, or nothing fits.
    """
    model, sample = plan.model(plan.members([seed])[0]), plan.sample(seed)
    return trunk.load(trunk.find(model, sample), trunk.read(file))


def changed(plan: Plan, file: str | Path, arm: Tuning) -> dict[str, Any]:
    """The fields of the setup that an arm sets: edits that start from the file and freeze what it
    does not train, and rates by block.
    """
    return described.changes(arm.told(plan.setup, file), plan.setup)


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
