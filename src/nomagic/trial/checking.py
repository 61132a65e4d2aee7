"""The recipe check: whether the winners hold together, on seeds that did not choose them.

The best arm of each practice that helped is applied on top of the others, the strongest first. The
recipe is compared with the bare setup and with itself less each trick. Of the tricks that do not
show on the fresh seeds, beside the others, the one that brings least is left out, and what is left
is compared again: of two that do the same, one stays. What is reported of the rest comes from here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nomagic.trial import budget, verdicts
from nomagic.trial.arms import Candidate
from nomagic.trial.recipe import alike, combine
from nomagic.trial.runs import OutOfTimeError, Runner, Variant
from nomagic.trial.screening import RATES, pick
from nomagic.trial.statistics import ALPHA, LOT, Judgement, Pairs, judge, lots
from nomagic.trial.verdicts import Contest
from nomagic.words import Recipe, Step, Verdict


@dataclass
class Checking:
    """One recipe check.

    ``contests`` are those of the winners and ``judged`` what their trials said on the seeds
    ``tried``; ``screening`` and ``pairs`` are the fresh seeds, ``glimpse`` the one of the networks
    that tricks look at. ``agree`` stores which winners there is time for and with how many pairs,
    or returns what was stored.
    """

    runner: Runner
    contests: Mapping[str, Contest]
    judged: Mapping[str, Judgement]
    tried: Sequence[int]
    screening: Sequence[int]
    pairs: Sequence[int]
    glimpse: int
    agree: Callable[[Sequence[str], Callable[[], tuple[list[str], int]]], tuple[list[str], int]]
    remarks: list[str] = field(default_factory=list[str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    without: dict[str, Contest] = field(default_factory=dict[str, Contest])
    found: dict[str, Judgement] = field(default_factory=dict[str, Judgement])
    beside: dict[str, str] = field(default_factory=dict[str, str])
    whole: Contest | None = None
    together: Judgement | None = None

    def run(self) -> None:
        """Train and judge; what `verdicts` and `recipe` tell grows on the way."""
        names = self._in_time(self._applied(self._best()))
        own, baseline = self._baseline(names)
        recipe, rate = self._variant(names)
        first = len(names)
        try:
            while names and not self._hold(names, recipe, baseline, rate, first):
                names = self._shorter(names)
                if names:
                    recipe, rate = self._variant(names, rate if len(names) > 1 else None)
        except OutOfTimeError:
            self.remarks.append("there is no recipe: the time ended before it was checked")
            raise
        if names:
            self.whole = Contest(self._candidate(names[0]), baseline, recipe, (own, rate))
            self.together = self._compare({"recipe": self.whole})["recipe"]
            if self.together.decision != "HELPS":
                self.remarks.append("there is no recipe: together the tricks show no gain")

    def _hold(
        self, names: Sequence[str], recipe: Variant, baseline: Variant, rate: float, first: int
    ) -> bool:
        """Whether each of these tricks shows beside the others, as one of ``first`` tricks."""
        less = {name: self._less(name, names, recipe, rate) for name in names}
        self.without |= less
        self._judge(less, recipe, baseline, ALPHA * len(names) / first)
        return all(self._shown(name) for name in names)

    def _shown(self, name: str) -> bool:
        return name in self.found and self.found[name].decision == "HELPS"

    def _shorter(self, names: Sequence[str]) -> list[str]:
        """All but the one that brings least of those that did not show."""
        lost = [name for name in names if not self._shown(name)]
        least = min(lost, key=lambda name: self.found[name].effect)
        others = [name for name in names if name != least]
        self.beside[least] = ", ".join(self._candidate(name).arm.name for name in others)
        return others

    def _baseline(self, names: Sequence[str]) -> tuple[float, Variant]:
        """The bare setup at the best rate that screening gave it, and that factor."""
        known = [self.contests[name] for name in names]
        best = next((one for one in known if one.screened), known[0])
        return best.rates[0], best.baseline

    # -- which ----------------------------------------------------------------------------------

    def _best(self) -> list[str]:
        """The strongest arm of each practice, the strongest first."""
        ranked = sorted(self.contests, key=lambda name: -self.judged[name].effect)
        best: dict[str, str] = {}
        for name in ranked:
            practice = self._candidate(name).practice.name
            if practice in best:
                other = self._candidate(best[practice]).arm.name
                self.reasons[name] = f"not checked on fresh seeds: {other} did better"
            else:
                best[practice] = name
        return list(best.values())

    def _candidate(self, name: str) -> Candidate:
        return self.contests[name].candidate

    def _applied(self, names: Sequence[str]) -> list[str]:
        """Those that can be applied on top of each other, and do not take each other's place."""
        _, refused = self._combine(names)
        applied: list[str] = []
        for name in names:
            undone = next((one for one in applied if self._replaces(name, one)), "")
            if name in refused:
                stronger = next((one for one in applied if self._combine([one, name])[1]), "")
                self._refuse(name, stronger, f"beside it this cannot be used: {refused[name]}")
            elif undone:
                self._refuse(name, undone, "this would take its place")
            else:
                applied.append(name)
        return applied

    def _refuse(self, name: str, stronger: str, reason: str) -> None:
        arm = self._candidate(stronger).arm.name if stronger else "others"
        self.reasons[name] = f"{arm} did better, and {reason}"

    def _replaces(self, name: str, other: str) -> bool:
        """Whether a trick on top of another leaves nothing of it."""
        alone, refused = self._combine([name])
        both, refused_too = self._combine([other, name])
        if refused or refused_too:
            return False
        return alike(self.runner.plan, alone, both, self.glimpse)

    def _in_time(self, names: list[str]) -> list[str]:
        """Those that there is time to check."""
        baseline = self._baseline(names)[1]
        costs = {name: self._weight(name) for name in names}
        left = self.runner.deadline - time.monotonic()
        kept, pairs = self.agree(names, lambda: budget.checked(costs, baseline.seconds, left))
        self.pairs = self.pairs[:pairs]
        for name in names:
            if name not in kept:
                self.reasons[name] = "won, but there was no time to check it on fresh seeds"
        return kept

    def _weight(self, name: str) -> float:
        """What a winner multiplies the time of a run by."""
        one = self.contests[name]
        return max(1.0, one.arm.seconds / one.baseline.seconds) if one.baseline.seconds else 1.0

    def _combine(self, names: Sequence[str]) -> tuple[Any, dict[str, str]]:
        steps = {
            name: (self._candidate(name).practice, self._candidate(name).arm.name) for name in names
        }
        return combine(self.runner.plan, steps, self.glimpse)

    def _variant(self, names: Sequence[str], rate: float | None = None) -> tuple[Variant, float]:
        """These tricks together, with the best of the learning rates unless one is given."""
        setup, _ = self._combine(names)
        if rate is None and len(names) == 1:
            rate = self.contests[names[0]].rates[1]
        if rate is None:
            table = {rate: self.runner.variant(setup, rate) for rate in RATES}
            self.runner.finish([(one, self.screening) for one in table.values()])
            scores = {rate: one.scores(self.screening) for rate, one in table.items()}
            rate = pick(scores, self._baseline(names)[0])
        return self.runner.variant(setup, rate), rate

    def _less(self, name: str, names: Sequence[str], recipe: Variant, rate: float) -> Contest:
        """The recipe against the recipe without one trick; without the only one, the baseline."""
        others = [other for other in names if other != name]
        contest = self.contests[name]
        if not others:
            return replace(contest, arm=recipe)
        less, _ = self._variant(others, rate)
        return replace(contest, baseline=less, arm=recipe)

    # -- how well -------------------------------------------------------------------------------

    def _judge(
        self, less: Mapping[str, Contest], recipe: Variant, baseline: Variant, alpha: float
    ) -> None:
        """Lots of fresh pairs until each trick is settled."""
        found: dict[str, Judgement] = {}
        for look in lots(len(self.pairs)):
            rows = self.pairs[:look]
            open_ = [one.baseline for name, one in less.items() if not _final(found, name)]
            self.runner.finish([(one, rows) for one in (recipe, baseline, *open_)])
            found = self._compare(less, alpha)
            self.found |= found
            if all(_final(found, name) for name in less):
                return

    def _compare(
        self, contests: Mapping[str, Contest], alpha: float = ALPHA
    ) -> dict[str, Judgement]:
        pairs = {name: self._pairs(one) for name, one in contests.items()}
        known = {name: one.worth for name, one in self.judged.items() if one.worth > 0}
        least = min(known.values(), default=math.nan)
        worth = {name: known.get(name, least) for name in pairs if known}
        return judge(pairs, lots(len(self.pairs)), worth, alpha=alpha)

    def _pairs(self, one: Contest) -> Pairs:
        known = [seed in one.baseline.known and seed in one.arm.known for seed in self.pairs]
        count = (known.index(False) if False in known else len(known)) // LOT * LOT
        return Pairs(one.baseline.scores(self.pairs[:count]), one.arm.scores(self.pairs[:count]))

    # -- what comes out -------------------------------------------------------------------------

    def verdicts(self, context: dict[str, Any]) -> dict[str, Verdict]:
        """The verdicts on the winners, from the fresh seeds where these were looked at."""
        return {name: self._verdict(name, context) for name in self.contests}

    def _verdict(self, name: str, context: dict[str, Any]) -> Verdict:
        judged = self.found.get(name)
        if judged is None or not judged.pairs:
            reason = self.reasons.get(name, "not yet checked on fresh seeds")
            return replace(self._tried(name, context), reason=reason)
        if self.beside.get(name):
            return self._redundant(name, judged, context)
        found = verdicts.verdict(self.without[name], judged, self.pairs[: judged.pairs], context)
        before = self.judged[name]
        lost = f"it won over {before.pairs} pairs, and not over {judged.pairs} fresh ones"
        reason = "" if judged.decision == "HELPS" else lost
        trial = {"trial": _told(before)}
        return replace(found, fresh=True, reason=reason, context=found.context | trial)

    def _tried(self, name: str, context: dict[str, Any]) -> Verdict:
        """What the trial said, on the seeds that chose the winner."""
        known = self.judged[name]
        return verdicts.verdict(self.contests[name], known, self.tried[: known.pairs], context)

    def _redundant(self, name: str, judged: Judgement, context: dict[str, Any]) -> Verdict:
        """A winner that brought nothing more beside others: what it brings alone still holds."""
        trial, others = self._tried(name, context), self.beside[name]
        reason = (
            f"it won alone over {trial.pairs} pairs; beside {others} no gain showed in "
            f"{judged.pairs} fresh ones"
        )
        beside = {"beside": {"others": others} | _told(judged)}
        return replace(trial, reason=reason, context=trial.context | beside)

    def recipe(self, empty: Recipe, context: dict[str, Any]) -> Recipe:
        """What survived, with its evidence; empty if nothing did, or the time ran out."""
        if self.whole is None or self.together is None or self.together.decision != "HELPS":
            return empty
        rows = self.pairs[: self.together.pairs]
        together = verdicts.verdict(self.whole, self.together, rows, context)
        steps = [
            Step(one.candidate.practice.name, one.candidate.arm.name, self._verdict(name, context))
            for name, one in self.without.items()
            if self._shown(name)
        ]
        return replace(
            empty,
            steps=tuple(steps),
            rate=self.whole.rates[1],
            together=replace(together, practice="", arm="recipe", fresh=True),
            context=context | {"learning rate of the bare setup": self.whole.rates[0]},
        )


def _final(found: Mapping[str, Judgement], name: str) -> bool:
    return name in found and found[name].final


def _told(judged: Judgement) -> dict[str, Any]:
    """A judgement in the numbers that a verdict's context tells."""
    return {name: getattr(judged, name) for name in ("effect", "low", "high", "pairs")}
