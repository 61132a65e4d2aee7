"""What a stage of a fit is given: the setup as it is now, the data that it may see, its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from nomagic import described
from nomagic.datasets import Data
from nomagic.engine import lasting, plain, stacked
from nomagic.engine.draws import generator, stream
from nomagic.engine.lasting import Result
from nomagic.engine.plan import Plan
from nomagic.engine.processes import threads
from nomagic.fitting.fitted import Scaling
from nomagic.fitting.ledger import Ledger
from nomagic.trial.budget import spoken
from nomagic.trial.runs import setup_name
from nomagic.words import Recipe, Setup, Stage

STEPS = 4
"""Steps that are timed to tell how long an epoch takes."""


class FitError(ValueError):
    """A fit that cannot go on: says what came, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for beside the setup.

    ``members`` are the networks of the ensemble; ``recipe`` what a trial proved; ``bytes`` and
    ``ms`` the limits of the model, on disk and for one input; ``pretrain`` a kind of unsupervised
    pre-training, "auto" or "off"; ``weights`` a file of weights to be fine-tuned; ``export`` are
    formats to write the model in, too.
    """

    members: int = 5
    recipe: Recipe | None = None
    bytes: int | None = None
    ms: float | None = None
    pretrain: str = "auto"
    weights: Path | None = None
    export: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """What a stage may look at; it returns its evidence as a `Stage`.

    ``base`` is the setup as the user gave it, ``setup`` as the stages so far have made it, ``data``
    what they may see and ``test`` what only the last one may. ``stages`` is the evidence so far,
    ``seconds`` the time for this stage, ``last`` what the last training has where all between is
    skipped. ``tell`` says what goes on; ``memory`` is what stages
    need not compute twice while the process lives. ``scaling`` is that of the targets of a
    regression, where they were standardised.
    """

    base: Setup
    setup: Setup
    data: Data
    test: Data | None
    ledger: Ledger
    wish: Wish
    stages: tuple[Stage, ...] = ()
    seconds: float = 60.0
    last: float = 60.0
    tell: Callable[[str], None] = field(default=lambda _: None)
    memory: dict[str, Any] = field(default_factory=dict[str, Any])
    scaling: Scaling | None = None

    @property
    def seed(self) -> int:
        """The seed of the split that all stages share, and of the networks."""
        return self.wish.seed

    def plan(self, **changes: Any) -> Plan:
        """The setup as it is now, with some fields changed."""
        return Plan(replace(self.setup, **changes), self.data)

    def stage(self, name: str) -> Stage | None:
        """The evidence of an earlier stage that was not skipped."""
        return next((one for one in self.stages if one.name == name and not one.skipped), None)

    def own(self, values: torch.Tensor) -> torch.Tensor:
        """Targets, or outputs, in the target's own unit; several targets stay as they are."""
        if self.scaling and len(self.scaling.centre) == 1:
            values = values * self.scaling.deviation[0] + self.scaling.centre[0]
        if self.data.unit:
            values = values * self.data.unit[1] + self.data.unit[0]
        return values

    @property
    def deviation(self) -> float:
        """What an error in standard deviations is multiplied by to be in the target's own unit."""
        return float(self.own(torch.ones(1)) - self.own(torch.zeros(1)))

    def change(self, setup: Setup) -> dict[str, Any]:
        """What `Stage.change` says to make this of the setup as it is now."""
        return described.changes(setup, self.setup)

    def pace(self, name: str, plan: Plan) -> Pace:
        """How the members of a plan train fastest, measured once for this name."""
        return Pace(**self.ledger.decide(f"{name}.pace", lambda: asdict(self._measured(plan))))

    def _measured(self, plan: Plan) -> Pace:
        """The pace; once for setups that differ in nothing but how long they are trained."""
        name = f"pace of {setup_name(replace(plan.setup, epochs=1), '')}"
        if name not in self.memory:
            kept = plan.setup  # what has no fingerprint is known by where it is
            self.memory[name] = kept, measured(plan, self.seed)
        return self.memory[name][1]

    def lacks(self, name: str, trainings: int) -> str:
        """Why there is no time for so many trainings of the setup as it is now; else empty."""

        def reason() -> str:
            plan = self.plan(members=1, patience=None)
            one = self.pace(f"{name}.one", plan).epoch * plan.setup.epochs
            if trainings * one <= self.seconds:
                return ""
            need = f"{trainings} trainings of {spoken(one)} each"
            return f"it takes {need} at least, and there are {spoken(self.seconds)} for it"

        return self.ledger.decide(f"{name}.lacks", reason)

    def train(self, name: str, plan: Plan) -> Result:
        """Train all members of a plan, going on from what was trained before under this name."""
        pace, epochs = self.pace(name, plan), plan.setup.epochs

        def tell(done: int, _: Any) -> None:
            self.tell(f"epoch {done} of {epochs}")

        with threads(pace.threads):
            return lasting.train(
                plan,
                self.seed,
                self.ledger.file(f"{name}.safetensors"),
                together=pace.together,
                tell=tell,
                every=max(1, round(EVERY / max(pace.epoch, 1e-6))),
            )


EVERY = 1.0
"""Seconds of training between two checkpoints, at least; an epoch is never cut."""
SCORING = 1.3
"""An epoch takes so much longer than its steps: the held-out part is scored."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The fastest way to train the members of a plan, and the seconds of an epoch of them all.

    ``threads`` are those of torch: with small networks one is often faster, above all where other
    programs want the cores, too. ``together`` says that the members are stacked.
    """

    threads: int
    together: bool
    epoch: float


def measured(plan: Plan, seed: int) -> Pace:
    """Time a few steps of each way."""
    members = plan.members([seed])
    steps = plan.steps(members[0]) / plan.setup.epochs * SCORING
    stackable = len(members) > 1 and not stacked.reason_against(plan)
    found: list[Pace] = []
    for count in sorted({1, torch.get_num_threads()}):
        with threads(count):
            found.append(Pace(count, False, _alone(plan, seed) * steps * len(members)))
            if stackable:
                found.append(Pace(count, True, _together(plan, seed) * steps))
    return min(found, key=lambda pace: pace.epoch)


def _alone(plan: Plan, seed: int) -> float:
    """Seconds of a step of one member."""
    member = plan.members([seed])[0]
    run = plain.Running(plan, member)
    run.scheduler = None  # it may count the steps of the training
    batches = plan.batches(member, 0)
    return _median(lambda i: run.step(batches[i % len(batches)]))


def _together(plan: Plan, seed: int) -> float:
    """Seconds of a step of all members at once."""
    members = plan.members([seed])
    with stacked.mapped():
        run = stacked.Running(plan, stacked.build(plan, members))
        run.scheduler = None
        rows = torch.stack([plan.batches(member, 0)[0] for member in members])
        return _median(lambda _: run.step(rows))


def _median(step: Callable[[int], object]) -> float:
    spent: list[float] = []
    for number in range(STEPS + 1):
        began = time.perf_counter()
        step(number)
        spent.append(time.perf_counter() - began)
    return sorted(spent[1:])[STEPS // 2]


def affordable(seconds: float, epoch: float, least: int, most: int) -> int:
    """Epochs that fit into the time, within limits; 0 if not even the least."""
    count = math.floor(seconds / max(epoch, 1e-9))
    return 0 if count < least else min(count, most)


def apart(data: Data, setup: Setup, share: float, seed: int) -> tuple[Data, Data | None]:
    """Set a test part aside that no stage but the last may see.

    It is the one that the source came with, or a share by the rule of `Setup.split`: whole groups,
    the end of the time, or samples at random.
    """
    if data.test_rows is not None and setup.split not in ("group", "time"):
        train, test = data.test_rows
        return data.subset(train), data.subset(test)
    if share <= 0:
        return data, None
    part = Plan(replace(setup, held_out=share), data).part(stream(seed, "test"))
    return data.subset(part.train), data.subset(part.held)


def drawn(count: int, most: int, seed: int, purpose: str) -> torch.Tensor:
    """At most so many of ``count`` rows, at random but always the same ones, in order."""
    order = torch.randperm(count, generator=generator(stream(seed, purpose)))
    return order[:most].sort().values
