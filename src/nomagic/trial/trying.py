"""The stages of a trial: screening, lots of pairs with a look after each, the recipe check."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from torch import nn

from nomagic.datasets import DataError, check_split
from nomagic.engine import scores
from nomagic.engine.choose import choose
from nomagic.engine.plan import Plan, SetupError
from nomagic.engine.processes import threads
from nomagic.trial import arms, budget, verdicts
from nomagic.trial.arms import Candidate, TrialError
from nomagic.trial.budget import BudgetError, Load, Scheme
from nomagic.trial.checking import Checking
from nomagic.trial.fingerprint import fingerprint
from nomagic.trial.recipe import with_identities
from nomagic.trial.runs import OutOfTimeError, Runner, Variant, load, setup_name
from nomagic.trial.screening import RATES, Table, means, pick
from nomagic.trial.statistics import ALPHA, LOT, Judgement, Pairs, first_look, judge, lots
from nomagic.trial.store import Store
from nomagic.trial.verdicts import Contest
from nomagic.words import Practice, Recipe, Setup, Trial, Verdict

Tell = Callable[[Trial], None]
Ending = Literal["", "finished", "out of time", "interrupted"]

STAGES = ("glimpse", "screening", "trial", "recipe screening", "recipe check")
"""What seeds are for; each stage has its own."""
TIMED = LOT
"""Runs of the baseline that are timed for the plan, at once, as those of a lot."""


def seeds(first: int, stage: str, count: int) -> list[int]:
    """The seeds of a stage, which no other stage and no other ``first`` has."""
    start = first * 1_000_000 + STAGES.index(stage) * 100_000
    return list(range(start, start + count))


@dataclass(frozen=True, slots=True)
class Ask:
    """What the user wants: the practices, by when, and the smallest effect worth having.

    ``everything`` takes all arms, even if there is no time to finish; ``extend`` declares the
    extension of a plan that left arms open; ``discoveries`` controls the false discovery rate
    instead of the family-wise error. ``deadline`` is on the clock of `time.monotonic`; if it is not
    ``strict``, what was planned for it is carried through, however long that takes, so that
    the same plan always has the same result.
    """

    practices: tuple[Practice, ...]
    deadline: float
    worth: float | None = None
    everything: bool = True
    extend: bool = False
    discoveries: bool = False
    seed: int = 0
    strict: bool = True


class Trying:
    """One trial; `run` returns what is known when it ends, however it ends.

    Args:
        plan: the setup with its data.
        ask: what is to be tried.
        store: keeps the runs and the plan.
        tell: called with the trial so far, again and again.

    Raises:
        TrialError, SetupError, MetricError, DataError: the setup cannot be trained.
        BudgetError: there is not enough time for one lot.
    """

    def __init__(self, plan: Plan, ask: Ask, store: Store, tell: Tell | None = None) -> None:
        self.plan, self.ask, self.store, self.tell = plan, ask, store, tell
        self.began, self.phase = time.monotonic(), "looking at the setup"
        self.remarks: list[str] = []
        self.offered: list[Candidate] = []
        self.found: list[Candidate] = []
        self.settled: list[Verdict] = []
        self.contests: dict[str, Contest] = {}
        self.judged: dict[str, Judgement] = {}
        self.looks: tuple[int, ...] = ()
        self.extension: tuple[int, ...] = ()
        self.recipe = Recipe(plan.setup.name or plan.data.name, plan.metric)
        self.checked: dict[str, Verdict] = {}
        self.scheme = Scheme((), 0, 0, "plain", 0.0)
        with threads(1):
            _check_baseline(plan, ask.seed)
            seed = self.seeds("glimpse", 1)[0]
            seen = arms.glimpse(plan, seed)
            self.context = verdicts.context(plan, seen)
            found, self.settled = arms.candidates(plan, ask.practices, seen, seed)
        if not ask.everything:
            found = arms.varied(found, partial(load, other=plan.setup))
        self.runner = Runner(plan, store, self._say)
        self.name = self._named(found)
        if found:
            self._plan_arms(found)

    def seeds(self, stage: str, count: int) -> list[int]:
        """The seeds of a stage of this trial."""
        return seeds(self.ask.seed, stage, count)

    def run(self) -> Trial:
        """All stages; Ctrl-C and the end of the time leave what is known."""
        ending: Ending = "finished"
        try:
            if self.found:
                with self.runner.interrupt:
                    self._stages()
            self.recipe = self._with_identities()
        except OutOfTimeError:
            ending = "out of time"
            self.recipe = self._with_identities()
        except KeyboardInterrupt:
            ending = "interrupted"
        self.phase = ""
        self.remarks += self._next(ending)
        return self.trial(ending)

    def _next(self, ending: Ending) -> Iterator[str]:
        """What can be done about arms that were left out or are still open."""
        left = self._left_out()
        if left:
            yield (
                f"left out for lack of time: {', '.join(left)}; name them, or take all with --all "
                "and a larger budget"
            )
        if ending != "finished":
            if self.store.kept:
                yield "the same command goes on from here; finished runs are kept"
        elif not self.extension and any(one.decision == "OPEN" for one in self.judged.values()):
            yield "open arms can be given as many pairs again, once: --extend"

    def _left_out(self) -> list[str]:
        """The arms that the plan has no time for."""
        return [one.arm.name for one in self.offered if one.name not in self.scheme.arms]

    def _stages(self) -> None:
        self.runner.deadline = self._end()
        self._screen()
        if self._replan():
            self._screen()
        late = self._ran_out()
        self.runner.deadline = self._end()
        self._check()
        if late:
            raise OutOfTimeError

    def _end(self) -> float:
        """When what is planned must be over."""
        return self.ask.deadline if self.ask.strict else math.inf

    def _ran_out(self) -> bool:
        """All lots of pairs; whether the time for them was over before."""
        try:
            self._lots(self.looks)
            self._lots(self.extension)
        except OutOfTimeError:
            return True
        return False

    # -- the plan -------------------------------------------------------------------------------

    def _named(self, found: Sequence[Candidate]) -> str:
        """What the plan is known by."""
        plan, ask = self.plan, self.ask
        what = [(one.name, setup_name(one.arm.setup, ""), one.arm.rates) for one in found]
        asked = (plan.metric, ask.worth, ask.everything, ask.discoveries, ask.seed)
        return fingerprint(self.runner.source, setup_name(plan.setup, ""), what, asked)

    def _plan_arms(self, found: Sequence[Candidate]) -> None:
        """Make or find the plan; keep the arms that are in it."""
        self.offered = list(found)
        self._take(Scheme.of(self._agreed("", lambda: self._measured(found).plain())))
        self.runner.how, self.runner.seconds = self.scheme.how, self.scheme.seconds

    def _agreed(self, part: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A part of the plan as it is stored; it is made if there is none."""
        name = f"{self.name} {part}".strip()
        stored = self.store.plan(name)
        return self.store.keep(name, make()) if stored is None else stored

    def _take(self, scheme: Scheme) -> None:
        """Follow a plan: its looks, and the arms that are in it."""
        self.scheme, self.looks = scheme, lots(scheme.pairs)
        self.extension = self._extension()
        self.found = [one for one in self.offered if one.name in scheme.arms]
        self.contests = {name: one for name, one in self.contests.items() if name in scheme.arms}

    def _measured(self, found: Sequence[Candidate]) -> Scheme:
        """A plan from what runs take: a few steps choose the engine, then a few runs are timed."""
        self._say("measuring how long runs take")
        choice = choose(self.plan)
        self.runner.how, self.runner.seconds = choice.how, choice.seconds
        loads = self._loads(found)
        everything = self.ask.everything
        left = self.ask.deadline - time.monotonic()
        budget.scheme(loads, left, choice.seconds, choice.how, everything=everything)
        seconds = self._timed()
        left = self.ask.deadline - time.monotonic()
        return budget.scheme(loads, left, seconds, choice.how, everything=everything)

    def _timed(self) -> float:
        """Seconds of a run, from those that screening begins with."""
        baseline = self.runner.variant(self.plan.setup)
        rows = self.seeds("screening", TIMED)
        self.runner.finish([(baseline, rows)])
        if baseline.broken:
            raise TrialError(f"a run of the setup raised: {baseline.broken}")
        return baseline.seconds

    def _loads(self, found: Sequence[Candidate]) -> list[Load]:
        """What the baselines and the arms cost, beside a run of the user's setup."""
        setup = self.plan.setup
        baselines = {id(one.arm.baseline): one.arm.baseline or setup for one in found}
        return [
            *(Load("", load(one, setup), len(RATES), baseline=True) for one in baselines.values()),
            *(
                Load(one.name, load(one.arm.setup, setup), _screened(one.arm.rates))
                for one in found
            ),
        ]

    def _extension(self) -> tuple[int, ...]:
        """The looks of the extension, if it is or was declared."""
        declared = self.store.plan(f"{self.name} extension")
        if declared is None and self.ask.extend:
            declared = self.store.keep(f"{self.name} extension", {"lots": 2})
        pairs = self.scheme.pairs
        return lots(declared["lots"] * pairs, after=pairs) if declared else ()

    def _replan(self) -> bool:
        """Plan anew, now that the runs of screening tell what they take; True: arms came in."""
        before = set(self.scheme.arms)
        self._take(Scheme.of(self._agreed("pairs", lambda: self._rescheduled().plain())))
        return not before.issuperset(self.scheme.arms)

    def _rescheduled(self) -> Scheme:
        """A plan for the time that is left; arms that were not screened yet are at its end."""
        scheme, everything = self.scheme, self.ask.everything
        run = self.runner.variant(self.plan.setup).seconds
        baselines = {one.baseline.name: one.baseline for one in self.contests.values()}
        loads = [Load("", one.seconds / run, 0, baseline=True) for one in baselines.values()]
        loads += [Load(name, one.arm.seconds / run, 0) for name, one in self.contests.items()]
        waiting = [one for one in self.offered if one.name not in self.contests]
        loads += [one for one in self._loads(waiting) if not one.baseline]
        left, unit = self.ask.deadline - time.monotonic(), min(run, scheme.seconds / budget.SLACK)
        try:
            found = budget.scheme(loads, left, unit, scheme.how, everything=everything)
        except BudgetError:
            return scheme
        return replace(found, screening=scheme.screening)

    def _reserve(self) -> float:
        """Seconds kept for the recipe check, as soon as there is something to check."""
        won = sum(self._won(name) for name in self.judged)
        pairs = min(self.scheme.pairs, budget.CHECKED[-1])
        return budget.check_runs([1.0] * won, pairs) * self.scheme.seconds if won else 0.0

    # -- stages ---------------------------------------------------------------------------------

    def _screen(self) -> None:
        """Give each baseline and each arm the best of its learning rates."""
        self._say("screening learning rates")
        rows = self.seeds("screening", self.scheme.screening)
        baselines = {
            id(one.arm.baseline): one.arm.baseline or self.plan.setup for one in self.found
        }
        before = {key: self._rates(setup, RATES) for key, setup in baselines.items()}
        after = {one.name: self._rates(one.arm.setup, one.arm.rates) for one in self.found}
        tables = [table for table in (*before.values(), *after.values()) if len(table) > 1]
        self.runner.finish([(one, rows) for table in tables for one in table.values()])
        for table in tables:
            _even(table.values())
        for one in self.found:
            baseline, arm = before[id(one.arm.baseline)], after[one.name]
            self.contests[one.name] = self._contest(
                one, _scores(baseline, rows), _scores(arm, rows)
            )

    def _rates(self, setup: Setup, rates: Sequence[float]) -> dict[float, Variant]:
        return {rate: self.runner.variant(setup, rate) for rate in rates}

    def _contest(self, one: Candidate, before: Table, after: Table) -> Contest:
        """Both sides with their rates; an arm that is not screened meets the setup as it is."""
        rate = 1.0 if len(after) == 1 else pick(before, 1.0)
        own = pick(after, rate if rate in after else 1.0) if after else rate
        return Contest(
            candidate=one,
            baseline=self.runner.variant(one.arm.baseline or self.plan.setup, rate),
            arm=self.runner.variant(one.arm.setup, own),
            rates=(rate, own),
            screened={"baseline": means(before), "arm": means(after)} if len(after) != 1 else {},
        )

    def _lots(self, looks: Sequence[int]) -> None:
        """A lot of pairs for each arm that is still open, then a look; until all is settled."""
        for look in looks:
            live = [one for name, one in self.contests.items() if not self._settled(name)]
            if not live:
                return
            rows = self.seeds("trial", look)
            self.runner.deadline = self._end() - self._reserve()
            self._say(f"pairs {look - LOT + 1} to {look} of {self.scheme.pairs}")
            self.runner.finish([(one.baseline, rows) for one in live])
            self.runner.finish([(one.arm, rows) for one in live])
            self._look()

    def _settled(self, name: str) -> bool:
        return name in self.judged and self.judged[name].final

    def _look(self) -> None:
        """Judge all arms by what is known."""
        self._drop_broken()
        pairs = {name: self._pairs(one) for name, one in self.contests.items()}
        if pairs:
            self.judged = judge(
                pairs,
                self.looks,
                self.ask.worth,
                extension=self.extension,
                discoveries=self.ask.discoveries,
            )
        _check_scores(pairs, self.plan)
        self._say()

    def _pairs(self, one: Contest) -> Pairs:
        """The pairs of an arm, up to the first that is not known."""
        rows = self.seeds("trial", max((*self.looks, *self.extension)))
        both = [seed in one.baseline.known and seed in one.arm.known for seed in rows]
        count = both.index(False) if False in both else len(rows)
        return Pairs(one.baseline.scores(rows[:count]), one.arm.scores(rows[:count]))

    def _drop_broken(self) -> None:
        """An arm that raised in training is out; a baseline that did ends the trial."""
        for name, one in list(self.contests.items()):
            if one.baseline.broken:
                raise TrialError(f"a run of the setup raised: {one.baseline.broken}")
            if one.arm.broken:
                reason = f"a run raised: {one.arm.broken}"
                practice, arm = one.candidate.practice.name, one.candidate.arm.name
                self.settled.append(Verdict(practice, arm, "NOT APPLICABLE", reason=reason))
                del self.contests[name]

    def _check(self) -> None:
        """Combine the winners and check them on fresh seeds."""
        won = {name: one for name, one in self.contests.items() if self._won(name)}
        if won:
            self._check_winners(won)

    def _with_identities(self) -> Recipe:
        """The recipe with what is the same by proof and was faster when it was first timed."""
        timed = self._agreed(
            "faster", lambda: {"arms": [one.arm for one in self.settled if one.faster]}
        )
        proven = [one for one in self.settled if one.arm in timed["arms"]]
        seed = self.seeds("glimpse", 1)[0]
        return with_identities(self.recipe, self.plan, self.ask.practices, proven, seed)

    def _check_winners(self, won: Mapping[str, Contest]) -> None:
        checking = Checking(
            runner=self.runner,
            contests=won,
            judged={name: self.judged[name] for name in won},
            tried=self.seeds("trial", max((*self.looks, *self.extension))),
            screening=self.seeds("recipe screening", self.scheme.screening),
            pairs=self.seeds("recipe check", min(self.scheme.pairs, budget.CHECKED[0])),
            glimpse=self.seeds("glimpse", 1)[0],
            agree=self._checked,
        )
        try:
            self._say("recipe check on fresh seeds")
            checking.run()
        finally:
            self.checked = checking.verdicts(self.context)
            self.remarks += checking.remarks
            self.recipe = checking.recipe(self.recipe, self.context)

    def _checked(
        self, names: Sequence[str], make: Callable[[], tuple[list[str], int]]
    ) -> tuple[list[str], int]:
        """The winners that are checked and the pairs for it, as they are stored."""
        agreed = self._agreed(
            f"check of {' '.join(names)}", lambda: dict(zip(("arms", "pairs"), make(), strict=True))
        )
        return agreed["arms"], agreed["pairs"]

    def _won(self, name: str) -> bool:
        """Whether an arm helps the user's own setup."""
        own = self.contests[name].candidate.arm.baseline is None
        return own and name in self.judged and self.judged[name].decision == "HELPS"

    # -- what is known --------------------------------------------------------------------------

    def _say(self, phase: str = "") -> None:
        """Tell the user the trial so far."""
        self.phase = phase or self.phase
        if self.tell:
            self.tell(self.trial())

    def trial(self, ending: Ending = "") -> Trial:
        """The trial as it stands."""
        now = time.monotonic()
        return Trial(
            setup=self.recipe.setup,
            metric=self.plan.metric,
            points=self.plan.metric in scores.PERCENT,
            verdicts=(*self._verdicts(), *self.settled),
            recipe=self.recipe,
            pairs=(*self.looks, *self.extension)[-1] if self.looks else 0,
            phase=self.phase,
            seconds=now - self.began,
            left=max(0.0, self.ask.deadline - now),
            ending=ending,
            context=self.context,
            remarks=tuple(self.remarks),
            bar=max(len(self.contests), 1) / ALPHA,
            left_out=tuple(self._left_out()),
        )

    def _verdicts(self) -> list[Verdict]:
        found = [one for one in self.found if one.name in self.contests or not self.contests]
        return [self.checked.get(one.name) or self._verdict(one) for one in found]

    def _verdict(self, one: Candidate) -> Verdict:
        if one.name not in self.judged:
            return Verdict(one.practice.name, one.arm.name, "OPEN", reason="no look yet")
        contest, judged = self.contests[one.name], self.judged[one.name]
        rows = self.seeds("trial", judged.pairs)
        found = verdicts.verdict(contest, judged, rows, self.context)
        first = 0 if self.ask.discoveries else first_look(len(self.contests), self.looks)
        if judged.decision == "OPEN" and judged.pairs < first:
            reason = f"the first look that can decide among {len(self.contests)} arms is at {first}"
            return replace(found, reason=f"{reason} pairs")
        return found


def _even(variants: Iterable[Variant]) -> None:
    """One expected time for all learning rates of an arm: the mean of what they took."""
    known = list(variants)
    mean = float(np.mean([one.seconds for one in known]))
    for one in known:
        one.seconds = mean


def _screened(rates: Sequence[float]) -> int:
    return len(rates) if len(rates) > 1 else 0


def _scores(table: Mapping[float, Variant], rows: Sequence[int]) -> Table:
    return (
        {rate: one.scores(rows) for rate, one in table.items()}
        if len(table) > 1
        else {rate: np.zeros(0) for rate in table}
    )


def _check_baseline(plan: Plan, first: int) -> None:
    """Splits, one step and the metric of the user's own setup, so that errors come at once."""
    if isinstance(plan.setup.model, nn.Module):
        kind = type(plan.setup.model).__name__
        raise TrialError(
            f"Setup.model is a {kind}; expected a function that makes a fresh network, so that "
            f"each run can have its own: model=lambda form: {kind}(…)"
        )
    for seed in seeds(first, "trial", LOT):
        part = plan.part(seed)
        check_split(plan.data, part.train, part.held)
    try:
        arms.preflight(plan, seeds(first, "glimpse", 1)[0])
    except (SetupError, scores.MetricError, DataError):
        raise
    except Exception as error:
        hint = _outputs_differ(plan, seeds(first, "glimpse", 1)[0])
        raise TrialError(f"the setup cannot be trained: {arms.said(error)}{hint}") from error


def _outputs_differ(plan: Plan, seed: int) -> str:
    """A hint where a classifier has another number of outputs than there are classes."""
    wanted = plan.form.outputs
    try:
        outputs = plan.model(plan.members([seed])[0])(plan.sample(seed))
        found = int(outputs.shape[-1]) if plan.form.task == "classification" else wanted
    except Exception:  # what was raised first says more
        return ""
    if found == wanted:
        return ""
    return f"; the model has {found} outputs for {wanted} classes: end it with form.outputs"


def _check_scores(pairs: Mapping[str, Pairs], plan: Plan) -> None:
    """Raise `TrialError` when all runs have the same score, or none has one."""
    found = np.concatenate([np.r_[one.baseline, one.arm] for one in pairs.values()] or [[]])
    finite = found[np.isfinite(found)]
    if len(found) and not len(finite):
        raise TrialError(
            f"all {len(found)} runs failed: loss or outputs were not finite; lower the setup's "
            "learning rate, or look at it with `nomagic check`"
        )
    if len(finite) and np.ptp(finite) == 0:
        value = finite[0] if plan.higher else -finite[0]
        name = "the metric" if plan.metric == "<lambda>" else plan.metric
        raise TrialError(
            f"{name} is {value:g} in all {len(finite)} runs, so that nothing can be told "
            "from it; take another metric (--metric loss), or a setup whose score can change"
        )
