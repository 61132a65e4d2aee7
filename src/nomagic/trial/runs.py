"""Training what a trial needs, and nothing twice: from the store, or by the engine."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from nomagic.engine import processes, stacked
from nomagic.engine.choose import How, finished
from nomagic.engine.plan import Outcome, Plan
from nomagic.trial.arms import said
from nomagic.trial.fingerprint import NoFingerprintError, fingerprint
from nomagic.trial.interrupt import Interrupt
from nomagic.trial.store import Store
from nomagic.words import Setup

POLL = 0.1
"""Seconds between two looks at what another process is training."""
HERE = uuid.uuid4().hex
"""Part of names that no other process may know."""


class OutOfTimeError(Exception):
    """What comes next does not fit into the time that is left."""


@dataclass(eq=False)
class Variant:
    """A setup ready to be trained: its plan, its name in the store, its engine.

    ``seconds`` is what a run is expected to take, from the last ones; ``broken`` what was raised in
    one, after which no more are tried.
    """

    plan: Plan
    name: str
    how: How
    seconds: float
    broken: str = ""
    known: dict[int, Outcome] = field(default_factory=dict[int, Outcome])

    def scores(self, seeds: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The deciding metric of these seeds, higher is better; nan where a run failed."""
        sign = 1.0 if self.plan.higher else -1.0
        found = [self.known.get(seed) for seed in seeds]
        values = [
            one.scores[self.plan.metric] if one and not one.failed else math.nan for one in found
        ]
        return sign * np.array(values, dtype=np.float64)


class Runner:
    """Trains variants of one setup and keeps the outcomes.

    Args:
        plan: the setup as the user gave it, with its data.
        store: where outcomes are kept.
        tell: called after every few runs.
        how: the engine that is fastest for it, and
        seconds: what one run takes with it.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        tell: Callable[[], None],
        how: How = "plain",
        seconds: float = 0.0,
    ) -> None:
        self.plan, self.store, self.tell = plan, store, tell
        self.how: How = how
        self.seconds = seconds
        self.deadline = math.inf
        self.interrupt = Interrupt()
        self.source = data_name(plan)
        self._variants: dict[str, Variant] = {}

    def variant(self, setup: Setup, rate: float = 1.0) -> Variant:
        """A setup on the same data, with a factor on its learning rate."""
        changed = replace(setup, rate=setup.rate * rate, metric=self.plan.setup.metric)
        name = setup_name(changed, self.source)
        if name not in self._variants:
            plan = Plan(changed, self.plan.data)
            seconds = self.seconds * load(changed, self.plan.setup)
            self._variants[name] = Variant(plan, name, self._engine(plan), seconds)
        return self._variants[name]

    def _engine(self, plan: Plan) -> How:
        """The engine for a plan; one that cannot be stacked gets a process for each member."""
        if self.how not in ("stacked", "stacks") or not stacked.reason_against(plan):
            return self.how
        return "plain" if processes.possible(plan) or processes.cores() < 2 else "processes"

    def finish(self, jobs: Sequence[tuple[Variant, Sequence[int]]]) -> None:
        """Have all these seeds trained, by this process or by others that share the store.

        Raises:
            OutOfTimeError: the next runs do not fit before the deadline.
        """
        waiting = [(variant, list(seeds)) for variant, seeds in jobs]
        while waiting := [job for job in waiting if self._missing(*job)]:
            trained = [self._train(*job) for job in waiting]
            if not any(trained):
                self._in_time(POLL)
                time.sleep(POLL)

    def _missing(self, variant: Variant, seeds: Sequence[int]) -> list[int]:
        if variant.broken:
            return []
        unknown = [seed for seed in seeds if seed not in variant.known]
        variant.known |= self.store.runs(variant.name, unknown)
        return [seed for seed in unknown if seed not in variant.known]

    def _train(self, variant: Variant, seeds: Sequence[int]) -> bool:
        """Train those that nobody else does; False if there are none."""
        missing = self._missing(variant, seeds)
        if not missing:
            return True
        expected = variant.seconds * len(missing)
        self._in_time(expected)
        ours = self.store.claim(variant.name, missing, expected)
        began = time.perf_counter()
        try:
            for outcomes in _trained(variant, ours):
                self.store.save(variant.name, outcomes)
                variant.known |= {outcome.seed: outcome for outcome in outcomes}
        except Exception as error:
            self.interrupt.check()
            variant.broken = said(error)
        finally:
            self.store.release(variant.name, ours)
        if ours:
            variant.seconds = (time.perf_counter() - began) / len(ours)
            self.tell()
        return bool(ours)

    def _in_time(self, seconds: float) -> None:
        self.interrupt.check()
        if time.monotonic() + seconds > self.deadline:
            raise OutOfTimeError


def load(setup: Setup, other: Setup) -> float:
    """About what a run of one setup takes, in runs of another."""
    return setup.members * setup.epochs / (other.members * other.epochs)


def _trained(variant: Variant, seeds: Sequence[int]) -> Iterator[list[Outcome]]:
    """The outcomes as they finish."""
    if seeds:
        yield from finished(variant.plan, seeds, variant.how)


def data_name(plan: Plan) -> str:
    """What a plan's data is known by: its content, down to the bytes."""
    return _name(*(getattr(plan.data, field.name) for field in fields(plan.data)))


def setup_name(setup: Setup, data: str) -> str:
    """What a setup's runs are known by. All metrics are kept, so their names do not count."""
    left_out = {"data", "name"} | ({"metric"} if isinstance(setup.metric, str) else set[str]())
    values = [getattr(setup, field.name) for field in fields(setup) if field.name not in left_out]
    return _name(data, *values)


def _name(*values: object) -> str:
    """A fingerprint; where there is none, a name that holds in this process only."""
    try:
        return fingerprint(*values)
    except NoFingerprintError:
        return fingerprint(HERE, *(id(value) for value in values))
