"""Which engine trains a setup fastest, by measurement: stacked, processes or plain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from nomagic.engine import plain, processes, stacked
from nomagic.engine.plan import Outcome, Plan

How = Literal["stacked", "stacks", "processes", "plain"]
"""All in one program; that on every core; one at a time on every core; one at a time."""

STEPS = 6
"""Steps timed at least for each engine, and as many more as take"""
SPENT = 0.25
"""seconds, in which the workers are all at it;"""
WARM = 2
"""so many before are not timed."""
FIRST = 1_000_003
"""Seeds of the members that are only measured."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine, what a member's step takes with each that can be used, and why others cannot.

    ``seconds`` are for one member's whole training with the engine chosen; ``size`` is the number
    of members trained at once that this holds for.
    """

    how: How
    size: int
    seconds: float
    steps: dict[str, float] = field(default_factory=dict[str, float])
    reasons: dict[str, str] = field(default_factory=dict[str, str])


def finished(plan: Plan, seeds: Sequence[int], how: How) -> Iterator[list[Outcome]]:
    """Train these seeds with one engine; outcomes in the portions in which they finish.

    They are the same up to rounding, whichever the engine.
    """
    if how == "plain":
        yield from (plain.train(plan, [seed]) for seed in seeds)
    elif how == "stacked":
        yield stacked.train(plan, seeds)
    else:
        inner = plain.train if how == "processes" else stacked.train
        yield from processes.finished(plan, seeds, inner)


def train(plan: Plan, seeds: Sequence[int], how: How) -> list[Outcome]:
    """The same, all at once and in the order of the seeds."""
    found = {one.seed: one for part in finished(plan, seeds, how) for one in part}
    return [found[seed] for seed in seeds]


def choose(plan: Plan, size: int = 8) -> Choice:
    """Time a few steps of each engine for ``size`` members and take the fastest."""
    reasons: dict[str, str] = {}
    steps = {"plain": _plain(plan, [FIRST])}
    cores = processes.cores()
    alone = processes.possible(plan) or _too_few(cores, size)
    if alone:
        reasons["processes"] = alone
    else:
        steps["processes"] = _together(plan, _plain, min(cores, size), 1)
    reason = stacked.reason_against(plan)
    if reason:
        reasons["stacked"] = reason
    else:
        steps["stacked"] = _stacked(plan, list(range(FIRST, FIRST + size)))
    if not (alone or reason) and size >= 2 * cores:
        steps["stacks"] = _together(plan, _stacked, cores, min(processes.SHARE, size // cores))
    how: How = min(steps, key=lambda name: steps[name])  # type: ignore[assignment]
    members = plan.members([FIRST])
    seconds = steps[how] * plan.steps(members[0]) * len(members)
    return Choice(how, size, seconds, steps, reasons)


def _too_few(cores: int, size: int) -> str:
    """Why workers would gain nothing; empty if they may."""
    if cores < 2:
        return "there is one core"
    return "there is one member" if size < 2 else ""


def _together(
    plan: Plan, timed: Callable[[Plan, list[int]], float], workers: int, size: int
) -> float:
    """Seconds of one member's step with so many workers at it, each with ``size`` seeds."""
    parts = [list(range(FIRST + i * size, FIRST + (i + 1) * size)) for i in range(workers)]
    spent = list(processes.each(plan, parts, timed, workers))
    return sum(spent) / workers**2


def _timed(step: Callable[[int], object]) -> float:
    """Seconds of a step, on average: waiting for a core that others use counts, as it will."""
    for number in range(WARM):
        step(number)
    _finish()
    began, done = time.perf_counter(), 0
    while done < STEPS or time.perf_counter() - began < SPENT:
        step(WARM + done)
        done += 1
    _finish()
    return (time.perf_counter() - began) / done


def _finish() -> None:
    """Wait for what was only started."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _plain(plan: Plan, seeds: list[int]) -> float:
    """Seconds of one member's step."""
    member = plan.members(seeds)[0]
    run = plain.Running(plan, member)
    run.scheduler = None  # it may count the steps of the training
    batches = plan.batches(member, 0)
    return _timed(lambda number: run.step(batches[number % len(batches)]))


def _stacked(plan: Plan, seeds: list[int]) -> float:
    """Seconds of a step for each of the members at once."""
    members = plan.members(seeds)
    run = stacked.Running(plan, stacked.build(plan, members))
    run.scheduler = None
    rows = [torch.stack(each) for each in zip(*(plan.batches(m, 0) for m in members), strict=True)]
    with stacked.mapped():
        return _timed(lambda number: run.step(rows[number % len(rows)])) / len(members)
