"""A trial on a terminal: a table that grows while it runs, and the verdicts at its end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from nomagic.report.lines import WIDEST, clean, count, glyphs, hang
from nomagic.report.progress import Progress
from nomagic.words import Decision, Recipe, Trial, Verdict

ORDER: dict[Decision, str] = {
    "HELPS": "bold green",
    "HURTS": "bold red",
    "OPEN": "yellow",
    "NOT WORTH IT": "",
    "NO DIFFERENCE THAT MATTERS": "",
    "SAME RESULT": "cyan",
}
"""The verdicts that have a row, in the order in which they are shown, and their styles."""
WIDE = 100
"""Columns from which on time and published effect are shown, too."""
TIGHT = 72
"""Columns below which only effect and verdict are shown."""
MOST = 1e6
"""Evidence beyond this is not told apart."""


def show(trial: Trial, out: Console, written: str = "") -> None:
    """Print the verdicts, and where the recipe and the report were ``written``."""
    for line in _head(trial, out):
        out.print(line, soft_wrap=True)
    out.print()
    if _rows(trial):
        out.print(table(trial, out))
        out.print()
    for line in _foot(trial, out, written):
        out.print(line, soft_wrap=True)


class Screen(Progress):
    """Shows a trial while it runs: a table on a terminal, a line for each step in a pipe."""

    def __init__(self, out: Console) -> None:
        super().__init__(out)
        self._last = ""

    def tell(self, trial: Trial) -> None:
        """Show the trial as it stands."""
        if self._live:
            self._live.update(Group(table(trial, self.out), _now(trial, self.out)), refresh=True)
        elif trial.phase != self._last:
            self._last = trial.phase
            self.out.print(_now(trial, self.out), soft_wrap=True)


def table(trial: Trial, out: Console) -> Table:
    """The arms that need or needed runs, and those that are proven the same."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    columns: dict[str, dict[str, Any]] = {
        "practice": {"no_wrap": True, "min_width": 8},
        f"effect on {trial.metric}": {"justify": "right", "min_width": 9},
        "95 % interval": {"justify": "right", "no_wrap": True},
        "evidence": {"justify": "right", "no_wrap": True},
        "pairs": {"justify": "right"},
        "time": {"justify": "right", "no_wrap": True},
        "published": {"no_wrap": True},
        "verdict": {},
    }
    width = min(out.width, WIDEST)
    left_out = set(() if width >= WIDE else (5, 6) if width >= TIGHT else (2, 3, 4, 5, 6))
    for place, (name, style) in enumerate(columns.items()):
        if place not in left_out:
            found.add_column(name, **style)
    for verdict in _rows(trial):
        cells = enumerate(_cells(verdict, trial, out))
        found.add_row(*(cell for place, cell in cells if place not in left_out))
    return found


def _rows(trial: Trial) -> list[Verdict]:
    names = list(ORDER)
    shown = [verdict for verdict in trial.verdicts if verdict.decision in ORDER]
    return sorted(shown, key=lambda one: (names.index(one.decision), -abs(one.effect)))


def _cells(verdict: Verdict, trial: Trial, out: Console) -> Iterator[Text]:
    yield clean(verdict.arm)
    if verdict.decision == "SAME RESULT":
        yield from (Text("0"), Text("proven"), Text(""), Text("0"))
    elif not verdict.pairs:
        yield from (Text(""), Text(""), Text(""), Text("0"))
    else:
        yield _signed(effect(verdict.effect, trial.points), out)
        yield _signed(interval(verdict, trial.points), out)
        yield Text(odds(verdict.evidence))
        yield Text(str(verdict.pairs))
    known = verdict.pairs or verdict.decision == "SAME RESULT"
    yield _signed(f"{(verdict.cost - 1) * 100:+.0f} %" if known else "", out)
    yield clean(_published(verdict, trial), "dim")
    yield _word(verdict)


def _published(verdict: Verdict, trial: Trial) -> str:
    """The published effect, where it is a number of points, and what became of it here."""
    points = verdict.context.get("published points")
    number = f"{points:+.1f} pt" if points is not None and trial.points else ""
    return ", ".join(filter(None, (number, verdict.claim)))


def effect(value: float, points: bool) -> str:
    """An effect in points of a hundred, or in the metric's own unit; "–" where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:+.2f} pt" if points else f"{value:+.3g}"


def interval(verdict: Verdict, points: bool) -> str:
    """Its interval; empty if there were too few pairs."""
    if not (math.isfinite(verdict.low) or math.isfinite(verdict.high)):
        return ""
    scale, form = (100, "+.2f") if points else (1, "+.3g")
    ends = (verdict.low, verdict.high)
    return " … ".join(format(scale * end, form) if math.isfinite(end) else "?" for end in ends)


def sentence(verdict: Verdict, trial: Trial) -> str:
    """What came out for one arm, for somebody who has never read a table of effects."""
    if verdict.decision == "SAME RESULT":
        quicker = (
            f"in {100 * (1 - verdict.cost):.0f} % less time" if verdict.faster else "no faster"
        )
        return f"It computes the same, {quicker}; that is proven, so no runs were needed."
    if not verdict.pairs:
        return "There were no pairs of runs to judge by."
    return f"{_race(verdict, trial)}. {MEANS[verdict.decision]}".replace("-", "−")


def _race(verdict: Verdict, trial: Trial) -> str:
    """How the pairs went: who won, by how much, at what cost, and what failed."""
    won = sum(pair.difference > 0 or pair.failed == "baseline" for pair in verdict.paired)
    parts = [f"it won {won} of {count(verdict.pairs, 'pair')}"] if verdict.paired else []
    if verdict.failures[1]:
        parts.append(f"{count(verdict.failures[1], 'run')} of it failed")
    if math.isfinite(verdict.effect):
        ends = interval(verdict, trial.points)
        sure = f" (with 95 % certainty {ends})" if ends and "?" not in ends else ""
        parts.append(f"the difference is {effect(verdict.effect, trial.points)} in the mean{sure}")
    extra = round(100 * (verdict.cost - 1)) if math.isfinite(verdict.cost) else 0
    if extra:
        parts.append(f"a run takes {abs(extra)} % {'longer' if extra > 0 else 'less'}")
    said = "; ".join(parts)
    return said[:1].upper() + said[1:]


MEANS: dict[Decision, str] = {
    "HELPS": "It helps.",
    "HURTS": "It hurts: leave it out.",
    "OPEN": "More pairs are needed to say whether it helps.",
    "NOT WORTH IT": "If it helps at all, then by less than is worth having.",
    "NO DIFFERENCE THAT MATTERS": "It makes no difference that matters.",
}
"""What a verdict means, in a sentence."""


def odds(evidence: float) -> str:
    """An e-value as odds: 412 : 1."""
    if evidence >= MOST:
        return f"> {MOST:.0e} : 1".replace("e+0", "e")
    return f"{evidence:.0f} : 1" if evidence >= 10 else f"{evidence:.1f} : 1"


def _word(verdict: Verdict) -> Text:
    word: str = verdict.decision
    if verdict.faster:
        word += ", FASTER"
    found = Text(word, ORDER[verdict.decision])
    if verdict.decision == "OPEN" and verdict.needed:
        found.append(f" (~{verdict.needed} pairs)", "dim")
    if any(verdict.failures):
        baseline, arm = verdict.failures
        found.append(f" ({baseline} runs of the baseline failed, {arm} of the arm)", "dim")
    return found


def _now(trial: Trial, out: Console) -> Text:
    dot = f" {glyphs(out).dot} "
    arms = [one for one in trial.verdicts if one.decision in ORDER]
    settled = sum(one.decision != "OPEN" for one in arms)
    parts = [trial.phase, f"{settled} of {count(len(arms), 'arm')} settled" if arms else ""]
    if math.isfinite(trial.left):
        parts.append(f"{_time(trial.left)} left")
    return Text(dot.join(filter(None, parts)), "dim")


def _head(trial: Trial, out: Console) -> Iterator[Text]:
    dot = f" {glyphs(out).dot} "
    ending = {
        "interrupted": "interrupted; this is what is known",
        "out of time": "the time is over; this is what is known",
    }.get(trial.ending, "")
    parts = [f"nomagic try {trial.setup}", f"{_time(trial.seconds)}", ending]
    header = clean(dot.join(filter(None, parts)))
    header.stylize("bold", 0, len("nomagic"))
    yield from hang(out, "", "", header)
    if trial.context:
        yield from hang(out, "", "", clean(dot.join(_context(trial.context)), "dim"))


def _context(context: dict[str, Any]) -> Iterator[str]:
    yield f"{context['data']}, {context['training samples']} to train on"
    yield f"{context['epochs']} epochs of batches of {context['batch size']}"
    yield f"{context['optimizer']} at {context['learning rate']:g}"
    yield f"normalisation: {context['normalisation']}"
    yield str(context["about"])


def _foot(trial: Trial, out: Console, written: str) -> Iterator[Text]:
    for reason, names in _reasons(trial, set(ORDER) - {"SAME RESULT"}).items():
        label = f"{names[0]}  " if len(names) == 1 else f"{count(len(names), 'arm')}  "
        yield from hang(out, "", label, clean(reason))
    for verdict in _rows(trial):
        if verdict.mechanism:
            yield from hang(out, "", f"{verdict.arm}  ", clean(verdict.mechanism))
    yield from _rates(trial, out)
    for reason, names in _reasons(trial, {"NOT APPLICABLE"}).items():
        yield from hang(out, "", "not applicable  ", clean(f"{', '.join(names)}: {reason}", "dim"))
    for remark in trial.remarks:
        yield from hang(out, "", "", clean(remark))
    yield Text()
    yield from hang(out, "", "recipe  ", clean(_recipe(trial.recipe, trial)))
    if written:
        yield from hang(out, "", "", clean(written))


def _rates(trial: Trial, out: Console) -> Iterator[Text]:
    """Which factors on the learning rate were used, where these are not all 1."""
    used = [one for one in _rows(trial) if one.context.get("rate")]
    if any(set(one.context["rate"].values()) != {1.0} for one in used):
        by: defaultdict[tuple[float, float], list[str]] = defaultdict(list)
        for one in used:
            by[one.context["rate"]["baseline"], one.context["rate"]["arm"]].append(one.arm)
        said = "; ".join(
            f"×{baseline:g} for the baseline, ×{arm:g} for {', '.join(names)}"
            for (baseline, arm), names in by.items()
        )
        yield from hang(out, "", "learning rates after screening  ", clean(said, "dim"))


def _reasons(trial: Trial, decisions: Collection[str]) -> dict[str, list[str]]:
    """The arms with these verdicts by the reason that they give."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for verdict in sorted(trial.verdicts, key=lambda one: -abs(one.effect)):
        if verdict.reason and verdict.decision in decisions:
            reasons[verdict.reason].append(verdict.arm)
    return reasons


def _recipe(recipe: Recipe, trial: Trial) -> str:
    if not recipe.steps:
        return "empty: nothing was proven to help on fresh seeds"
    same = [step.arm for step in recipe.steps if step.verdict.decision == "SAME RESULT"]
    names = ", ".join(step.arm for step in recipe.steps if step.arm not in same)
    parts = [f"{', '.join(same)}: the same result in less time"] if same else []
    if recipe.together is not None:
        together = recipe.together
        found = f"{effect(together.effect, trial.points)} ({interval(together, trial.points)})"
        parts.insert(0, f"{names}: together {found} over {together.pairs} fresh pairs")
    return "; ".join(parts)


def _signed(text: str, out: Console) -> Text:
    """Numbers with a minus sign where the stream has one."""
    return Text(text.replace("-", "−") if glyphs(out).fault == "✖" else text.replace("…", "to"))


def _time(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
