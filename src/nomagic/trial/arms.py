"""From practices to the arms of a trial, and what can be said of them before any run."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nomagic import words
from nomagic.engine import plain
from nomagic.engine.plan import Member, Part, Plan
from nomagic.glimpse import Glimpse
from nomagic.trial.fingerprint import INSTALLED
from nomagic.words import Arm, NotApplicable, Practice, Proof, Setup, Verdict

OURS = Path(words.__file__).parent
RAW = 2_048
"""Training inputs that a trick may look at."""
LITTLE = 0.1
"""Points that a practice without a number is taken to promise."""
SCORED = 512
"""Held-out samples on which the metric is tried out."""


class TrialError(Exception):
    """A trial that cannot be run: says what came, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An arm of a practice that is worth a trial."""

    practice: Practice
    arm: Arm

    @property
    def name(self) -> str:
        """Its name in the plan, which no other has."""
        return f"{self.practice.name}/{self.arm.name}"


def _draw(setup: Setup, _glimpse: Glimpse) -> Iterator[Arm | Proof | NotApplicable]:
    drawn = replace(setup, draw=setup.draw + 1)
    yield Arm("a-a", drawn, "the same setup with draws of its own", rates=())


SAME = Practice(
    "a-a", "", "The same setup again, with initial weights and an order of its own", "", (),
    apply=_draw,
)  # fmt: skip
"""The trick of an A/A trial."""


def glimpse(plan: Plan, seed: int) -> Glimpse:
    """What tricks may look at: a fresh network of the setup and some of its data."""
    setup, part = plan.setup, plan.part(seed)
    model = plan.model(Member(seed, draw=setup.draw))
    rows = part.train[: setup.batch_size]
    x, y = plan.fetch(rows)
    optimizer = plan.optimizer(dict(model.named_parameters()), frozenset())
    group = optimizer.param_groups[0]
    return Glimpse(
        form=plan.form,
        model=model,
        sample=plan.prepare(x, part.fitted),
        targets=y,
        raw=plan.fetch(part.train[:RAW])[0],
        optimizer=type(optimizer).__name__,
        rate=float(group["lr"]),
        decay=float(group.get("weight_decay", 0.0)),
        train=len(part.train),
    )


def candidates(
    plan: Plan, practices: Sequence[Practice], seen: Glimpse, seed: int
) -> tuple[list[Candidate], list[Verdict]]:
    """The arms to be trialled, and a verdict on all that need no runs."""
    found: list[Candidate] = []
    settled: list[Verdict] = []
    for practice in practices:
        for proposed in _proposed(practice, plan.setup, seen):
            if isinstance(proposed, Arm):
                reason = _cannot_run(plan, proposed, seed)
                if not reason:
                    found.append(Candidate(practice, proposed))
                    continue
                proposed = NotApplicable(reason)
            settled.append(_settled(practice, proposed))
    return found, settled


def varied(found: Sequence[Candidate], weight: Callable[[Setup], float]) -> list[Candidate]:
    """The first arm of each practice before the second of any, rivals one turn later.

    In a turn those come first of which most is promised for the time that a run takes; ``weight``
    is that time.
    """
    counts = Counter[str]()
    turns: list[tuple[int, float]] = []
    for one in found:
        turn = counts[one.practice.name] + one.arm.rival
        turns.append((turn, -_promised(one.practice) / weight(one.arm.setup)))
        counts[one.practice.name] += 1
    return [found[index] for index in sorted(range(len(found)), key=turns.__getitem__)]


def _promised(practice: Practice) -> float:
    """The points that are promised; where there is no number, a little for "helps"."""
    promise = practice.promise
    if promise is None or promise.direction != "helps":
        return 0.0
    return promise.points or LITTLE


def _proposed(practice: Practice, setup: Setup, seen: Glimpse) -> list[Arm | Proof | NotApplicable]:
    if practice.apply is None:
        return [NotApplicable("it has no trick that could be tried")]
    try:
        return list(practice.apply(setup, seen))
    except Exception as error:
        return [NotApplicable(f"it cannot be applied here: {said(error)}")]


def _cannot_run(plan: Plan, arm: Arm, seed: int) -> str:
    try:
        preflight(Plan(arm.setup, plan.data), seed)
    except Exception as error:
        return f"{arm.name}: the changed setup cannot be trained: {said(error)}"
    return ""


def _settled(practice: Practice, found: Proof | NotApplicable) -> Verdict:
    if isinstance(found, NotApplicable):
        return Verdict(practice.name, practice.name, "NOT APPLICABLE", reason=found.reason)
    return proved(practice, found)


def proved(practice: Practice, found: Proof) -> Verdict:
    """The verdict on what is proven to compute the same."""
    return Verdict(
        practice.name,
        found.name,
        "SAME RESULT",
        low=0.0,
        high=0.0,
        cost=found.after / found.before if found.before > 0 else 1.0,
        reason=found.how,
        context={"seconds before": found.before, "seconds after": found.after},
    )


def preflight(plan: Plan, seed: int) -> None:
    """Take one step and score some held-out samples, so that errors come before the first run."""
    part = plan.part(seed)
    member = plan.members([seed])[0]
    run = plain.Running(plan, member)
    run.model.train()
    run.step(plan.batches(member, 0)[0])
    few = Part(part.train, part.held[:SCORED], part.fitted)
    outputs, targets = plain.outputs_of(plan, run.model, few)
    plain.outcome(plan, seed, outputs, targets, failed="")


def said(error: BaseException) -> str:
    """An error in one line, with the user's own line where it happened."""
    text = (str(error).splitlines() or [""])[0]
    kind = type(error).__name__
    line = own_line(error)
    return f"{kind}: {text}" + (f" ({line})" if line else "")


def own_line(error: BaseException) -> str:
    """The last line of the user's own code in a traceback: ``net.py:12: return x @ w``."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        own = not any(file.is_relative_to(folder) for folder in (OURS, *INSTALLED))
        if own and file.suffix == ".py":
            return f"{file}:{frame.lineno}: {frame.line or ''}".rstrip(": ")
    return ""
