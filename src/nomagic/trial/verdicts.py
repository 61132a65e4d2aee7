"""Verdicts from what the pairs say, with what they cost and what they are about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Any

from nomagic.engine.plan import Outcome, Plan
from nomagic.glimpse import Glimpse
from nomagic.trial.arms import Candidate
from nomagic.trial.runs import Variant
from nomagic.trial.statistics import LOT, Judgement, Pairs, evidence
from nomagic.words import Decision, Pair, Promise, Setup, Verdict

AGREES: dict[str, tuple[Decision, ...]] = {
    "helps": ("HELPS",),
    "hurts": ("HURTS",),
    "no difference": ("NO DIFFERENCE THAT MATTERS", "SAME RESULT"),
}
"""Verdicts that confirm a published effect."""
DISAGREES: dict[str, tuple[Decision, ...]] = {
    "helps": ("HURTS", "NOT WORTH IT", "NO DIFFERENCE THAT MATTERS", "SAME RESULT"),
    "hurts": ("HELPS", "NO DIFFERENCE THAT MATTERS", "SAME RESULT"),
    "no difference": ("HELPS", "HURTS"),
}
"""Verdicts that contradict it; the rest cannot tell."""


CHANGES = {
    "flips": "a shift by one pixel flips {1:.1f} % of the predictions instead of {0:.1f} %",
    "ece": "the calibration error is {1:.1f} pt instead of {0:.1f} pt",
}
"""Metrics that are told where an arm changes them much, whatever decides."""
MUCH = 1.5
POINT = 0.01


@dataclass
class Contest:
    """An arm and its baseline in the trial: their variants, and how they were screened."""

    candidate: Candidate
    baseline: Variant
    arm: Variant
    rates: tuple[float, float]
    screened: dict[str, dict[float, float]] = field(default_factory=dict[str, dict[float, float]])


def verdict(
    contest: Contest, judged: Judgement, seeds: Sequence[int], context: dict[str, Any]
) -> Verdict:
    """The verdict on one arm; ``seeds`` are those of its pairs."""
    practice, arm = contest.candidate.practice, contest.candidate.arm
    promise = None if arm.rival else practice.promise
    done = [seed for seed in seeds if seed in contest.baseline.known and seed in contest.arm.known]
    before = [contest.baseline.known[seed] for seed in done]
    after = [contest.arm.known[seed] for seed in done]
    pairs = Pairs(contest.baseline.scores(done), contest.arm.scores(done))
    return Verdict(
        practice=practice.name,
        arm=arm.name,
        decision=judged.decision,
        effect=judged.effect,
        low=judged.low,
        high=judged.high,
        evidence=judged.evidence,
        better=judged.better,
        pairs=judged.pairs,
        failures=judged.failures,
        cost=cost(before, after),
        needed=judged.needed,
        others=others(before, after, contest.arm.plan.metric),
        context=context | _rates(contest) | _published(promise),
        claim=claim(promise, judged.decision),
        mechanism="; ".join(changes(before, after)),
        paired=tuple(paired(done, pairs)),
        history=history(pairs),
    )


def paired(seeds: Sequence[int], pairs: Pairs) -> Iterator[Pair]:
    """Each pair with its seed; the difference of one that failed is nan."""
    for seed, difference, *failed in zip(seeds, pairs.differences, *pairs.failed, strict=True):
        baseline, arm = failed
        if baseline or arm:
            yield Pair(seed, math.nan, "both" if baseline and arm else "arm" if arm else "baseline")
        else:
            yield Pair(seed, float(difference))


def history(pairs: Pairs) -> tuple[tuple[int, float], ...]:
    """The pairs and the e-value at each look, all of which the last one's pairs hold."""
    looks = range(LOT, len(pairs) + 1, LOT)
    return tuple((look, evidence(pairs.first(look))) for look in looks)


def claim(promise: Promise | None, decision: Decision) -> str:
    """Hold a verdict against the published effect: confirmed, not here, cannot tell."""
    if promise is None:
        return ""
    if decision in AGREES[promise.direction]:
        return "confirmed"
    return "not here" if decision in DISAGREES[promise.direction] else "cannot tell"


def _published(promise: Promise | None) -> dict[str, Any]:
    if promise is None:
        return {}
    number = {} if promise.points is None else {"published points": promise.points}
    return {"published": f"{promise.text} ({promise.source})"} | number


def _rates(contest: Contest) -> dict[str, Any]:
    baseline, arm = contest.rates
    return {
        "rate": {"baseline": baseline, "arm": arm},
        "what": contest.candidate.arm.what,
        "screened": {
            who: {f"{rate:g}": score for rate, score in scores.items()}
            for who, scores in contest.screened.items()
        },
    }


def cost(before: Sequence[Outcome], after: Sequence[Outcome]) -> float:
    """The training time over the baseline's, by medians; nan without pairs."""
    if not before:
        return math.nan
    return median(one.seconds for one in after) / max(median(one.seconds for one in before), 1e-9)


def others(before: Sequence[Outcome], after: Sequence[Outcome], metric: str) -> dict[str, float]:
    """Mean differences in the other metrics (arm less baseline), inference time and parameters."""
    both = [(a, b) for a, b in zip(before, after, strict=True) if not (a.failed or b.failed)]
    if not both:
        return {}
    names = [name for name in both[0][0].scores if name != metric and name in both[0][1].scores]
    found = {name: fmean(b.scores[name] - a.scores[name] for a, b in both) for name in names}
    found["inference"] = fmean(b.inference - a.inference for a, b in both)
    found["parameters"] = float(both[0][1].parameters - both[0][0].parameters)
    return found


def changes(before: Sequence[Outcome], after: Sequence[Outcome]) -> Iterator[str]:
    """What else changed much: by half or more, a point or more, and three standard errors."""
    both = [(a, b) for a, b in zip(before, after, strict=True) if not (a.failed or b.failed)]
    for name, text in CHANGES.items():
        pairs = [(a.scores[name], b.scores[name]) for a, b in both if name in a.scores]
        if len(pairs) < LOT:
            continue
        low, high = (fmean(values) for values in zip(*pairs, strict=True))
        error = stdev(b - a for a, b in pairs) / math.sqrt(len(pairs))
        much = abs(high - low) >= max(POINT, 3 * error)
        if much and max(low, high) >= MUCH * min(low, high):
            yield text.format(100 * low, 100 * high)


def context(plan: Plan, seen: Glimpse) -> dict[str, Any]:
    """What all verdicts of a trial are about."""
    setup = plan.setup
    return {
        "data": plan.data.name,
        "task": plan.form.task,
        "metric": plan.metric,
        "higher is better": plan.higher,
        "training samples": seen.train,
        "batch size": setup.batch_size,
        "epochs": setup.epochs,
        "split": setup.split,
        "held out": setup.held_out,
        "about": _about(setup),
        "optimizer": seen.optimizer,
        "learning rate": seen.rate,
        "weight decay": seen.decay,
        "parameters": sum(p.numel() for p in seen.model.parameters()),
        "normalisation": norms(seen),
        "precision": setup.precision,
        "device": setup.device,
    }


def _about(setup: Setup) -> str:
    """What the seeds vary, and so what the verdict is about."""
    if setup.split in ("fixed", "time"):
        return "this one split; the seeds vary initial weights and order"
    return "fresh splits; the seeds vary split, initial weights and order"


def norms(seen: Glimpse) -> str:
    """The kinds of normalisation layers in the network, or "none"."""
    kinds = {type(module).__name__ for module in seen.model.modules()}
    return ", ".join(sorted(kind for kind in kinds if "Norm" in kind)) or "none"
