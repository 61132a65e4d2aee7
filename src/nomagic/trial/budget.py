"""What a time budget buys: how many pairs, screening runs and runs of the recipe check."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nomagic.engine.choose import How
from nomagic.trial.statistics import LOT

PAIRS = (16, 24, 32, 48)
"""Pairs of each arm that a plan may have."""
CHECKED = (24, 16)
"""Pairs that a recipe check may have."""
WINNERS = 1 / 3
"""The share of the arms that a plan keeps time for the recipe check of."""
SLACK = 1.15
"""Runs are expected to take so much longer than measured."""
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class BudgetError(ValueError):
    """A budget that cannot be read, or that is too small for one lot."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The plan of a trial as it is stored: a resumed trial follows it, whatever time is left.

    ``arms`` are the names of the arms; ``pairs`` each may have, ``screening`` the seeds for each
    learning rate; ``how`` is the engine, ``seconds`` what one run of the baseline is expected to
    take.
    """

    arms: tuple[str, ...]
    pairs: int
    screening: int
    how: How
    seconds: float

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Scheme:
        """Back from JSON."""
        return cls(tuple(plain.pop("arms")), **plain)


@dataclass(frozen=True, slots=True)
class Load:
    """What an arm costs: one run, in runs of the baseline, and the learning rates to screen."""

    name: str
    weight: float = 1.0
    rates: int = 3
    baseline: bool = False


def seconds(text: str | float) -> float:
    """Read a time such as ``90``, ``"90s"``, ``"10m"``, ``"1h30m"``.

    Raises:
        BudgetError: it is none, or not above zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(text).strip().lower())
    left = re.sub(r"\d+(?:\.\d+)?\s*[a-z]*\s*", "", str(text).strip().lower())
    if not parts or left or any(unit not in UNITS for _, unit in parts):
        raise BudgetError(f"the budget {text!r} is no time; write 90s, 10m or 1h30m")
    total = sum(float(number) * UNITS[unit] for number, unit in parts)
    if total <= 0:
        raise BudgetError(f"the budget {text!r} must be above zero")
    return total


def spoken(time: float) -> str:
    """A time for people: 45 s, 3 min 20 s, 1 h 5 min."""
    whole = round(time)
    if whole < 60:
        return f"{whole} s" if time >= 1 or not time else f"{time:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def screening(pairs: int) -> int:
    """Seeds for each learning rate."""
    return max(3, pairs // LOT)


def runs(loads: Sequence[Load], pairs: int, lots: int | None = None) -> float:
    """Runs of the whole plan, in runs of the baseline; or of its first lots, without the check."""
    each = pairs if lots is None else lots * LOT
    main = sum(load.weight * (each + load.rates * screening(pairs)) for load in loads)
    return main if lots else main + _expected_check(len(_arms(loads)), min(pairs, CHECKED[0]))


def _expected_check(arms: int, pairs: int) -> float:
    """Runs of the recipe check if a third of the arms win, none of them much slower."""
    return check_runs([1.0] * max(1, round(arms * WINNERS)), pairs)


def check_runs(weights: Sequence[float], pairs: int) -> float:
    """Runs of a recipe check of so many pairs, in runs of the baseline.

    ``weights`` are what each winner multiplies the time of a run by. Beyond one winner there are
    the learning rates, the recipe without each, and what is left of it.
    """
    whole = math.prod(weights)
    if len(weights) < 2:
        return (1 + whole) * pairs
    without = sum(whole / weight for weight in weights)
    return (1 + 2 * whole + without) * pairs + 3 * screening(pairs) * whole


def checked(weights: Mapping[str, float], run: float, left: float) -> tuple[list[str], int]:
    """The winners, the strongest first, whose recipe check fits into the time left; its pairs.

    All of them if possible; else those that still fit beside stronger ones. The strongest is always
    among them, with one lot of pairs where there is no time for more.
    """

    def fits(names: Sequence[str], pairs: int) -> bool:
        return check_runs([weights[name] for name in names], pairs) * run * SLACK <= left

    pairs = next((n for n in CHECKED if fits(list(weights), n)), CHECKED[-1])
    kept: list[str] = []
    for name in weights:
        if fits([*kept, name], pairs):
            kept.append(name)
    return (kept, pairs) if kept else (list(weights)[:1], LOT)


def scheme(
    loads: Sequence[Load], budget: float, run: float, how: How, everything: bool = True
) -> Scheme:
    """The longest plan that fits into ``budget`` seconds if a run takes ``run``.

    ``loads`` are the baselines and the arms, the most promising first. Without ``everything``,
    arms at the end are left out until a whole plan fits.

    Raises:
        BudgetError: there is not even time for one lot.
    """
    run = run * SLACK
    kept = list(loads)
    while not everything and len(_arms(kept)) > 1 and runs(kept, PAIRS[0]) * run > budget:
        kept.remove(_arms(kept)[-1])
    pairs = next((n for n in reversed(PAIRS) if runs(kept, n) * run <= budget), PAIRS[0])
    least = runs(kept, pairs, lots=1) * run
    if least > budget:
        raise BudgetError(_too_small(kept, max(0.0, budget), least, runs(kept, PAIRS[0]) * run))
    names = tuple(load.name for load in _arms(kept))
    return Scheme(names, pairs, screening(pairs), how, run)


def _arms(loads: Sequence[Load]) -> list[Load]:
    return [load for load in loads if not load.baseline]


def _too_small(loads: Sequence[Load], budget: float, least: float, whole: float) -> str:
    count = len(_arms(loads))
    arms = f"{count} arms" if count > 1 else "one arm"
    fewer = "name fewer practices, " if count > 1 else ""
    return (
        f"the budget is too small: one lot of {LOT} pairs of {arms} takes about {spoken(least)}, "
        f"the shortest whole plan ({PAIRS[0]} pairs) {spoken(whole)}, and {spoken(budget)} are "
        f"left after looking at the setup; {fewer}raise the budget, or shorten the setup's training"
    )
