"""Which tricks help: an exact group-sequential sign-flip test on pairs of runs.

A pair is the baseline and the arm on one seed. If the arm makes no difference, each pair might as
well have come out the other way round. So the observed pairs are compared with 20,000 copies in
which pairs are swapped at random, the same ones at all looks. The observed one is then one among
equals, and the test is exact for any distribution of scores.

**Spending** (Lan & DeMets 1983, their Pocock-type function). By the look at n of N pairs the share
log(1 + (e-1) n/N) of the level is spent: so many of the copies, the observed one counted among
them, have been stopped. Each look stops the most extreme of those that are left; ties at the bar
go on. The plan spends 80 % of the level, one declared extension the rest. Half of it all is for
"helps" and half for "hurts".

**Failures** come first. Copies are ranked by the runs that failed in one arm only; what this leaves
of a look's share is spent on the differences of the pairs in which both runs finished.

**Many tricks.** Holm's procedure at each look, as a closed test whose intersections are Bonferroni
tests (Ye et al. 2013, Maurer & Bretz 2013, both in Statistics in Medicine 32): what is proven
passes its level on, and an arm must pass at every level that it may yet be tested at. An arm that
is dropped as not worth it keeps its level, so dropping cannot produce false claims. The probability
of any "helps" or "hurts" about tricks that make no difference is at most ``alpha``.

**Dropping.** An arm is dropped when the test of its differences less the smallest effect worth
having says "hurts". It spends alpha/2 for each arm, not divided among arms: the risk of losing
a trick that is worth having. It begins with the first look at which a difference can be proven, so
that a harmful trick can be called so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nomagic.words import Decision

Floats = NDArray[np.float64]

LOT = 8
"""Pairs between two looks."""
ALPHA = 0.05
"""The probability of any false "helps" or "hurts", or with e-BH their expected share."""
PLANNED = 0.8
"""The share of the level that the plan spends; an extension has the rest."""
COPIES = 20_000
BISECTIONS = 16
BETS = np.array([-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0])
POWER = 0.8
TIE = 1e-9
"""Sums that differ by less than this, relative to the largest, are ties."""
TINY = 1e-12


class StatisticsError(ValueError):
    """What was given cannot be judged: says what came and what was expected."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The scores of a baseline and an arm, (pairs,) each, seed by seed, higher is better.

    A score that is not finite is a failed run. Further pairs are appended, never put in between.
    """

    baseline: ArrayLike
    arm: ArrayLike

    def __post_init__(self) -> None:
        before, after = np.shape(self.baseline), np.shape(self.arm)
        if before != after or len(before) != 1:
            raise StatisticsError(
                f"the baseline's scores have shape {before} and the arm's {after}; "
                "expected one of each for every seed: (pairs,) and (pairs,)"
            )

    @cached_property
    def failed(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which runs of the baseline and of the arm failed."""
        before, after = np.asarray(self.baseline, float), np.asarray(self.arm, float)
        return ~np.isfinite(before), ~np.isfinite(after)

    @cached_property
    def finished(self) -> Floats:
        """1 where both runs of a pair finished, else 0."""
        baseline, arm = self.failed
        return (~(baseline | arm)).astype(np.float64)

    @cached_property
    def rescues(self) -> Floats:
        """1 where only the baseline failed, -1 where only the arm did, else 0."""
        baseline, arm = self.failed
        return baseline.astype(np.float64) - arm

    @cached_property
    def differences(self) -> Floats:
        """Arm less baseline, 0 where a run failed."""
        both = self.finished > 0
        difference = np.zeros(len(both))
        before, after = np.asarray(self.baseline, float), np.asarray(self.arm, float)
        np.subtract(after, before, out=difference, where=both)
        return difference

    def __len__(self) -> int:
        return len(self.finished)

    def first(self, pairs: int) -> Pairs:
        """The first so many pairs."""
        return Pairs(np.asarray(self.baseline)[:pairs], np.asarray(self.arm)[:pairs])

    def compared(self) -> Floats:
        """The differences of the pairs in which both runs finished."""
        return self.differences[self.finished > 0]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the pairs of one arm say, at the look where it was decided or else the latest one.

    ``effect`` is the mean difference and ``low`` to ``high`` its 95 % interval, which holds at all
    looks at once (a repeated interval, Jennison & Turnbull 1989; nan: too few pairs; not corrected
    for the number of arms). ``evidence`` is the e-value, ``better`` the probability that the
    arm wins a pair, ``failures`` the failed runs of the baseline and of the arm, ``worth`` the
    smallest effect worth having. ``final`` says that no more pairs are wanted; ``needed`` is
    about how many pairs would settle an OPEN one.
    """

    decision: Decision
    effect: float
    low: float
    high: float
    evidence: float
    better: float
    pairs: int
    failures: tuple[int, int]
    worth: float
    final: bool
    needed: int = 0


# -- the plan ---------------------------------------------------------------------------------


def lots(pairs: int, after: int = 0) -> tuple[int, ...]:
    """The looks of a plan of so many pairs: after each lot of 8; or of an extension ``after`` one.

    >>> lots(24)
    (8, 16, 24)
    >>> lots(48, after=24)
    (32, 40, 48)
    """
    if pairs % LOT or after % LOT or pairs <= after:
        raise StatisticsError(f"{pairs} pairs after {after}; expected more, in lots of {LOT}")
    return tuple(range(after + LOT, pairs + 1, LOT))


def spending(looks: Sequence[int], extension: Sequence[int] = (), alpha: float = ALPHA) -> Floats:
    """What one side of the test has spent by each look, the extension's included."""
    if not looks or sorted({0, *looks, *extension}) != [0, *looks, *extension]:
        raise StatisticsError(
            f"looks at {[*looks]} and {[*extension]} pairs; expected numbers that increase"
        )
    if not 0 < alpha < 1:
        raise StatisticsError(f"alpha is {alpha}; expected a level between 0 and 1, such as 0.05")
    first = PLANNED * _spent(looks, 0)
    second = PLANNED + (1 - PLANNED) * _spent(extension, looks[-1])
    return alpha / 2 * np.concatenate([first, second])


def _spent(looks: Sequence[int], start: int) -> Floats:
    done = np.array([look - start for look in looks], float)
    return np.log1p((math.e - 1) * done / done[-1:])


def first_look(tricks: int, looks: Sequence[int], alpha: float = ALPHA) -> int:
    """The pairs at which the first of so many tricks can be proven, 0 if at no look.

    Even if all n pairs point one way, this happens by chance in 2^-n of the cases.
    """
    shares = spending(looks, alpha=alpha) / max(tricks, 1)
    return next((n for n, share in zip(looks, shares, strict=True) if 2.0**-n <= share), 0)


# -- the test ---------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def swaps(pairs: int, copies: int, seed: int) -> Floats:
    """Random signs (pairs, 1 + copies); the first column is the observed one, all +1.

    The signs of the first pairs are the same however many follow.
    """
    heads = np.random.default_rng(seed).random((pairs, copies)) < 0.5
    return np.hstack([np.ones((pairs, 1)), np.where(heads, 1.0, -1.0)])


def crossed(tiers: Sequence[Floats], budget: Sequence[int]) -> list[bool]:
    """Whether the observed sums pass the bar, at each look.

    Args:
        tiers: what copies are ranked by, first things first; each (looks, copies), the observed
            copy in the first column.
        budget: how many copies may have been stopped by each look.
    """
    live = np.ones(tiers[0].shape[1], bool)
    passed: list[bool] = []
    for look, most in enumerate(budget):
        passed.append(False)
        for tier in tiers:
            values = tier[look]
            bar = _bar(values[live], most - int(np.count_nonzero(~live)))
            above = values > bar + TIE * np.abs(values).max()
            passed[-1] |= bool(above[0])
            live &= ~above
    return passed


def _bar(values: Floats, room: int) -> float:
    """What at most ``room`` of the values exceed."""
    place = len(values) - 1 - room
    return float(np.partition(values, place)[place]) if place >= 0 else -math.inf


class SignFlip:
    """The tests of one arm at its looks: of no difference, and of any other effect.

    Args:
        pairs: the arm's pairs.
        looks: the pairs at each look of the trial; those not reached yet are left out.
        shares: what one side may have spent by each, as `spending` gives it.
        signs: as `swaps` gives them.
    """

    def __init__(self, pairs: Pairs, looks: Sequence[int], shares: Floats, signs: Floats) -> None:
        reached = [look for look in looks if look <= len(pairs)]
        self.copies, self.shares = signs.shape[1], shares
        self.sums, self.counts, self.rescues = (
            np.array([one[:look] @ signs[:look] for look in reached])
            for one in (pairs.differences, pairs.finished, pairs.rescues)
        )
        self.reach = [float(np.abs(pairs.differences[:look]).max(initial=TINY)) for look in reached]

    def shows(self, side: int, look: int, tricks: int = 1) -> bool:
        """Whether a look shows a difference (1: better, -1: worse), as one of so many tricks."""
        rescues, sums = side * self.rescues[: look + 1], side * self.sums[: look + 1]
        tiers = (rescues, sums) if rescues.any() else (sums,)
        return crossed(tiers, self._budget(look, tricks))[-1]

    def direction(self, look: int) -> int:
        """The side that a look points to: failures first, then the differences."""
        return 1 if (self.rescues[look, 0], self.sums[look, 0]) >= (0.0, 0.0) else -1

    def beyond(self, effect: float, side: int, look: int) -> bool:
        """Whether a look shows that the effect is above (side 1) or below (side -1) a number."""
        sums = self.sums[: look + 1] - effect * self.counts[: look + 1]
        return crossed((side * sums,), self._budget(look))[-1]

    def clears(self, effect: float, side: int, look: int) -> bool:
        """The same, and the failures do not point the other way."""
        return side * self.rescues[look, 0] >= 0 and self.beyond(effect, side, look)

    def end(self, side: int, look: int) -> float:
        """An end of the interval, the lower one for side 1; nan where no effect is excluded."""
        inside = float(self.sums[look, 0] / max(self.counts[look, 0], 1))
        outside = -side * self.reach[look] * (1 + 1e-6)
        if not self.beyond(outside, side, look):
            return math.nan
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            if self.beyond(middle, side, look):
                outside = middle
            else:
                inside = middle
        return inside

    def _budget(self, look: int, tricks: int = 1) -> list[int]:
        return [int(share / tricks * self.copies) for share in self.shares[: look + 1]]


# -- gauges -----------------------------------------------------------------------------------


def evidence(pairs: Pairs) -> float:
    """The e-value against "no difference", in either direction; it may be watched at any time.

    A product over pairs of exp(b z) / cosh(b z), averaged over bets b of -2 to 2; each factor has
    mean 1 over the swaps of its pair (the Fisher-type e-value of symmetry, Vovk & Wang 2024,
    arXiv:2208.08925). z is the difference over the root mean square of those so far and itself,
    which no swap changes; a run that failed alone counts like a difference of that size.
    """
    squares = np.cumsum(pairs.differences**2)
    sizes = np.sqrt(squares / np.maximum(np.cumsum(pairs.finished), 1))
    steps = pairs.differences / np.where(sizes > 0, sizes, 1) + pairs.rescues
    bets = np.outer(BETS, steps)
    return float(np.exp((bets - np.logaddexp(bets, -bets) + math.log(2)).sum(1)).mean())


def better(pairs: Pairs) -> float:
    """The probability that the arm wins a pair: Laplace's rule, a tie is half a win."""
    won = np.sign(pairs.differences) + pairs.rescues
    return float((won + 1).sum() / 2 + 1) / (len(pairs) + 2)


def needed(pairs: Pairs, worth: float, tricks: int = 1, alpha: float = ALPHA) -> int:
    """About how many pairs would settle an arm, with power 0.8 if its effect is as measured.

    Settled is: the effect is told from none, or shown to be below what is worth having. The formula
    is that of a test without looks. 0 where pairs say nothing.
    """
    compared = pairs.compared()
    if len(compared) < 2:
        return 0
    effect, spread = float(compared.mean()), float(compared.std(ddof=1))
    gaps = ((abs(effect), alpha / 2 / tricks), (worth - effect, alpha / 2))
    wanted = [
        ((NormalDist().inv_cdf(1 - level) + NormalDist().inv_cdf(POWER)) * spread / gap) ** 2
        for gap, level in gaps
        if gap > 0
    ]
    return max(LOT * math.ceil(min(wanted) / LOT), len(pairs) + LOT) if wanted else 0


def worthwhile(pairs: Pairs, lot: int = LOT) -> float:
    """The default smallest effect worth having: half the standard deviation of the first lot.

    nan before that lot is complete or where fewer than two of its pairs finished.
    """
    compared = pairs.first(lot).compared()
    if len(pairs) < lot or len(compared) < 2:
        return math.nan
    return max(float(compared.std(ddof=1)) / 2, TINY)


def promising(evidences: Mapping[str, float], rate: float = ALPHA) -> set[str]:
    """The tricks that e-BH keeps: the expected share of false ones is at most ``rate``.

    For more than twenty tricks, instead of Holm; holds under any dependence and at any time (Wang &
    Ramdas 2022, False discovery rate control with e-values).
    """
    ranked = sorted(evidences, key=lambda name: -evidences[name])
    passed = [k for k, name in enumerate(ranked, 1) if k * evidences[name] * rate >= len(ranked)]
    return set(ranked[: max(passed, default=0)])


# -- the verdicts -----------------------------------------------------------------------------


def judge(
    arms: Mapping[str, Pairs],
    looks: Sequence[int],
    worth: float | Mapping[str, float] | None = None,
    *,
    extension: Sequence[int] = (),
    discoveries: bool = False,
    alpha: float = ALPHA,
    seed: int = 0,
    copies: int = COPIES,
) -> dict[str, Judgement]:
    """Judge all arms of a trial by all their pairs so far.

    Nothing is kept between calls: with more pairs, the looks passed before come out as before. A
    look is taken when all arms that are not final have reached it; final ones need no more pairs.

    Args:
        arms: all tricks of the trial, also the final ones: Holm counts them.
        looks: the planned looks, as `lots` gives them.
        worth: the smallest effect worth having, for all or by arm; None is `worthwhile`.
        extension: further looks, declared when the plan has left arms open.
        discoveries: hold the false discovery rate (`promising`) instead of the family-wise error.
        alpha: the level, both sides together.
        seed: of the swaps.
        copies: how many swapped copies.

    Raises:
        StatisticsError: looks that do not increase, a level or worth out of range.
    """
    points, shares = (*looks, *extension), spending(looks, extension, alpha)
    signs = swaps(points[-1], copies, seed)
    tests = {name: SignFlip(pairs, points, shares, signs) for name, pairs in arms.items()}
    least = {name: _least(name, pairs, worth, looks[0]) for name, pairs in arms.items()}
    first = looks[0] if discoveries else first_look(len(arms), looks, alpha)
    rule = partial(_discovered, arms, points, alpha) if discoveries else _holm
    standings = _follow(tests, least, points, first, rule)
    return {
        name: _judgement(
            arms[name].first(points[standing.look] if standing.look >= 0 else len(arms[name])),
            tests[name],
            standing,
            least[name],
            tricks=_undecided(standings),
            alpha=alpha,
        )
        for name, standing in standings.items()
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an arm stands: its latest look (-1: none), the side that is proven, whether it ends."""

    look: int = -1
    side: int = 0
    final: bool = False


def _follow(
    tests: Mapping[str, SignFlip],
    least: Mapping[str, float],
    points: Sequence[int],
    first: int,
    rule: Rule,
) -> dict[str, Standing]:
    """Take every look that all live arms have reached."""
    standings = dict.fromkeys(tests, Standing())
    for look, pairs in enumerate(points):
        live = {name: test for name, test in tests.items() if not standings[name].final}
        if any(look >= len(test.sums) for test in live.values()):
            break
        proven = rule(live, look, standings)
        for name, test in live.items():
            side = proven.get(name, 0)
            dropped = not side and pairs >= first and test.clears(least[name], -1, look)
            standings[name] = Standing(look, side, side != 0 or dropped or pairs == points[-1])
    return standings


Rule = Callable[[Mapping[str, SignFlip], int, Mapping[str, Standing]], dict[str, int]]
"""From the live arms, the look and where all arms stand to the sides that are proven."""


def _undecided(standings: Mapping[str, Standing]) -> int:
    """How many arms Holm counts: those in which nothing is proven, dropped ones included."""
    return sum(standing.side == 0 for standing in standings.values())


def _discovered(
    arms: Mapping[str, Pairs],
    points: Sequence[int],
    alpha: float,
    live: Mapping[str, SignFlip],
    look: int,
    standings: Mapping[str, Standing],
) -> dict[str, int]:
    """The arms that e-BH keeps at a look; the evidence of final ones stays as it was."""
    at = {name: points[look if name in live else standings[name].look] for name in arms}
    kept = promising({name: evidence(arms[name].first(at[name])) for name in arms}, alpha)
    return {name: test.direction(look) for name, test in live.items() if name in kept}


def _holm(
    live: Mapping[str, SignFlip], look: int, standings: Mapping[str, Standing]
) -> dict[str, int]:
    """The arms that a look proves, and the side of each."""
    tricks, proven = _undecided(standings), dict[str, int]()
    while True:
        left = {name: test for name, test in live.items() if name not in proven}
        sides = {name: _side(test, look, tricks - len(proven)) for name, test in left.items()}
        found = {name: side for name, side in sides.items() if side}
        if not found:
            return proven
        proven |= found


def _side(test: SignFlip, look: int, tricks: int) -> int:
    """The side on which the arm passes as one of so many tricks, and of any fewer."""
    sides = (1, -1) if test.rescues[look, 0] >= 0 else (-1, 1)
    fewer = range(tricks, 0, -1)
    return next((side for side in sides if all(test.shows(side, look, m) for m in fewer)), 0)


def _least(name: str, pairs: Pairs, worth: float | Mapping[str, float] | None, lot: int) -> float:
    given = worth.get(name) if isinstance(worth, Mapping) else worth
    if given is None:
        return worthwhile(pairs, lot)
    if not 0 < given < math.inf:
        raise StatisticsError(
            f"the smallest effect worth having is {given} for {name}; expected a number above 0, "
            "in the unit of the scores"
        )
    return given


def _judgement(
    pairs: Pairs, test: SignFlip, standing: Standing, least: float, *, tricks: int, alpha: float
) -> Judgement:
    look = standing.look
    decision: Decision = "OPEN"
    if standing.final:
        below, above = test.clears(least, -1, look), test.clears(-least, 1, look)
        decision = _decision(standing.side, below=below, above=above)
    compared = pairs.compared()
    baseline, arm = pairs.failed
    return Judgement(
        decision=decision,
        effect=float(compared.mean()) if len(compared) else math.nan,
        low=test.end(1, look) if look >= 0 else math.nan,
        high=test.end(-1, look) if look >= 0 else math.nan,
        evidence=evidence(pairs),
        better=better(pairs),
        pairs=len(pairs),
        failures=(int(baseline.sum()), int(arm.sum())),
        worth=least,
        final=standing.final,
        needed=needed(pairs, least, tricks, alpha) if decision == "OPEN" else 0,
    )


def _decision(side: int, *, below: bool, above: bool) -> Decision:
    """The verdict from what is proven: a side, below what is worth having, above minus that."""
    if side > 0:
        return "NOT WORTH IT" if below else "HELPS"
    if below and above:
        return "NO DIFFERENCE THAT MATTERS"
    if side < 0:
        return "HURTS"
    return "NOT WORTH IT" if below else "OPEN"
