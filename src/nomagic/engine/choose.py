"""Which engine trains a setup fastest, by measurement: stacked, processes or plain."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from nomagic.engine import plain, processes, stacked
from nomagic.engine.plan import Outcome, Plan

How = Literal["stacked", "stacks", "processes", "plain"]
"""All in one program; that on every core; one at a time on every core; one at a time."""

STEPS = 6
"""Steps timed for each engine, after"""
WARM = 2
"""so many that are not."""
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
    steps = {"plain": _plain(plan)}
    cores = processes.cores()
    alone = processes.possible(plan) or ("there is one core" if cores < 2 else "")
    if alone:
        reasons["processes"] = alone
    else:
        with _one_thread():
            steps["processes"] = _plain(plan) / min(cores, size)
    reason = stacked.reason_against(plan)
    if reason:
        reasons["stacked"] = reason
    else:
        steps["stacked"] = _stacked(plan, size)
    if not (alone or reason) and size >= 2 * cores:
        with _one_thread():
            steps["stacks"] = _stacked(plan, min(processes.SHARE, size // cores)) / cores
    how: How = min(steps, key=lambda name: steps[name])  # type: ignore[assignment]
    members = plan.members([FIRST])
    seconds = steps[how] * plan.steps(members[0]) * len(members)
    return Choice(how, size, seconds, steps, reasons)


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    """As a worker computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _timed(step: Callable[[int], object]) -> float:
    """The median of a few steps."""
    spent: list[float] = []
    for number in range(WARM + STEPS):
        began = time.perf_counter()
        step(number)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return sorted(spent[WARM:])[STEPS // 2]


def _plain(plan: Plan) -> float:
    """Seconds of one member's step."""
    member = plan.members([FIRST])[0]
    run = plain.Running(plan, member)
    batches = plan.batches(member, 0)
    return _timed(lambda number: run.step(batches[number % len(batches)]))


def _stacked(plan: Plan, size: int) -> float:
    """Seconds of a step for each of ``size`` members at once."""
    members = plan.members(range(FIRST, FIRST + size))
    run = stacked.Running(plan, stacked.build(plan, members))
    orders = [plan.batches(member, 0) for member in members]
    count = len(orders[0])
    rows = [torch.stack([order[i] for order in orders]) for i in range(min(count, WARM + STEPS))]
    with stacked.mapped():
        return _timed(lambda number: run.step(rows[number % len(rows)])) / len(members)
