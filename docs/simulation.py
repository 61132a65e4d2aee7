"""Simulate trials whose truth is known, and count the verdicts that err and those that find.

    python docs/simulation.py    # some minutes: docs/simulation.json, .svg, tables of statistics.md

The trials are those of tests/test_statistics.py, which holds the same rates as a test. Beside our
rule stands the habit: a t-test after each lot of pairs, until it is significant.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

DOCS = Path(__file__).parent
PAGE, FOUND = DOCS / "statistics.md", DOCS / "simulation.json"
sys.path.insert(0, str(DOCS.parent / "tests"))

import test_statistics as simulated  # noqa: E402

from nomagic.report import draw  # noqa: E402
from nomagic.trial.statistics import Judgement, Pairs, judge  # noqa: E402
from nomagic.words import Picture, Series  # noqa: E402

TRIALS = 2000
COPIES = 999
LOOKS = (*simulated.PLAN, *simulated.EXTENSION)
PARTS = ("share", "low", "high")
TABLE = re.compile(
    r"(?P<mark><!-- simulation: (?P<name>\w+) -->).*?(?P<end><!-- end -->)", re.DOTALL
)
WORLDS = {
    "gaussian": (simulated.gaussian, "scores that vary like a bell curve"),
    "heavy tails": (simulated.t3, "now and then a run that is far off (t, 3 degrees)"),
    "ties": (simulated.tied, "accuracies on 40 samples, so that many pairs are equal"),
    "failures": (simulated.diverging, "one run in five does not finish"),
}


def ours(arms: dict[str, Pairs], seed: int, look: int) -> dict[str, Judgement]:
    """What our rule says of a trial after so many pairs."""
    seen = {name: pairs.first(look) for name, pairs in arms.items()}
    return judge(seen, simulated.PLAN, extension=simulated.EXTENSION, seed=seed, copies=COPIES)


def habit(arms: dict[str, Pairs], look: int) -> bool:
    """Whether a t-test was below 5 % at one of the looks so far."""
    differences = arms["0"].differences
    return any(stats.ttest_1samp(differences[:n], 0).pvalue < 0.05 for n in LOOKS if n <= look)


def rate(said: Iterable[bool]) -> dict[str, float]:
    """A share of trials with its 95 % binomial interval."""
    told = list(said)
    ends = stats.binomtest(sum(told), len(told)).proportion_ci()
    share = float(np.mean(told))
    return {"share": share, "low": float(ends.low), "high": float(ends.high), "trials": len(told)}


def trials(world: Callable[..., np.ndarray], **plan: float) -> list[dict[str, Pairs]]:
    """So many trials of a world."""
    return list(simulated.trials(world, TRIALS, **plan))


def by_look() -> dict[str, list[dict[str, float]]]:
    """How often a trick that does nothing has been called a help or a harm, look by look."""
    nothing = trials(simulated.gaussian)
    return {
        "nomagic": [
            rate(simulated.claims(ours(arms, seed, look)) for seed, arms in enumerate(nothing))
            for look in LOOKS
        ],
        "habit": [rate(habit(arms, look) for arms in nothing) for look in LOOKS],
    }


def by_world() -> dict[str, dict[str, object]]:
    """The same at the end, for scores of several kinds."""
    return {
        name: {"what": what}
        | rate(
            simulated.claims(ours(arms, seed, LOOKS[-1])) for seed, arms in enumerate(trials(world))
        )
        for name, (world, what) in WORLDS.items()
    }


def power() -> dict[str, list[dict[str, float]]]:
    """How often a trick that helps has been found by a look, for effects in standard deviations."""
    helping = {"0.5": 0.5, "1.0": 1.0}
    return {
        name: [
            rate(simulated.helps(ours(arms, seed, look)) for seed, arms in enumerate(some))
            for look in LOOKS
        ]
        for name, some in (
            (name, trials(simulated.gaussian, effect=effect, good=1))
            for name, effect in helping.items()
        )
    }


# -- what the page shows ----------------------------------------------------------------------


def picture(found: dict[str, Any]) -> Picture:
    """False claims by the number of pairs."""
    looks = tuple(float(look) for look in found["looks"])
    lines = [
        Series(name, looks, *(tuple(100 * one[part] for one in rates) for part in PARTS))
        for name, rates in (
            ("t-test until significant", found["errors"]["habit"]),
            ("nomagic", found["errors"]["nomagic"]),
        )
    ]
    promised = Series("promised: at most 5 %", (looks[0], looks[-1]), (5.0, 5.0), kind="guide")
    return Picture(
        "A trick that does nothing, looked at again and again",
        "Share of trials that claim a difference though there is none, with 95 % intervals: a "
        "t-test after each lot, until it is below 5 %, and the rule of nomagic.",
        "pairs of runs looked at",
        "false claims (%)",
        (*lines, promised),
    )


def worlds(found: dict[str, Any]) -> str:
    """False claims at the end, for each kind of scores."""
    rows = [
        f"| {name}: {one['what']} | {percent(one)} | {one['trials']:,} |"
        for name, one in found["worlds"].items()
    ]
    return lines("scores", "false claims, 95 % interval", "trials", rows=rows)


def powers(found: dict[str, Any]) -> str:
    """How often an effect has been found by each look."""
    rows = [
        f"| {effect} | " + " | ".join(f"{one['share']:.0%}" for one in rates) + " |"
        for effect, rates in found["power"].items()
    ]
    return lines("effect", *(f"{look} pairs" for look in found["looks"]), rows=rows)


def lines(*heads: str, rows: list[str]) -> str:
    """A table."""
    rule = "| --- " * len(heads) + "|"
    return "\n".join(["", f"| {' | '.join(heads)} |", rule, *rows, ""])


def percent(one: dict[str, Any]) -> str:
    """A rate with its interval."""
    return f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%})"


def refreshed(text: str, found: dict[str, Any]) -> str:
    """A page with its tables as the simulation is now."""
    made = {"worlds": worlds(found), "power": powers(found)}
    return TABLE.sub(lambda match: f"{match['mark']}\n{made[match['name']]}\n{match['end']}", text)


def write(found: dict[str, Any]) -> None:
    """Write the picture, and the tables of the page."""
    (DOCS / "simulation.svg").write_text(f"{draw.svg(picture(found))}\n", encoding="utf-8")
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    simulated_now = {"errors": by_look(), "worlds": by_world(), "power": power(), "looks": LOOKS}
    FOUND.write_text(json.dumps(simulated_now, indent=1) + "\n", encoding="utf-8")
    write(simulated_now)
