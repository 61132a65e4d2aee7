"""Results in a notebook: what came out in a few lines, and below them the whole page in a frame.

The lines are plain tags without styles, classes or ids: they touch nothing else in the notebook,
and are what is left where a notebook is not trusted, since sanitizers take frames and styles out.
The page keeps its own styles within a sandboxed frame without scripts: nothing in it can reach the
notebook, and nothing in the notebook changes how it looks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from markupsafe import Markup

from nomagic.report import fit, html, look, terminal, trial
from nomagic.report.lines import console, count
from nomagic.words import SEVERITIES, Finding, Fit, Practice, Record, Survey, Trial, Verdict

WIDTH, HEIGHT = 88, "34rem"
"""Columns of the plain text, and the height of the frame."""
WITHIN = re.compile(r'(<a(?: class="[^"]*")?) href="#[^"]*"')
"""A link within a page."""
LISTED = 12
"""Lines of what came out."""


def displayed(value: Any, practices: Iterable[Practice], nomagic: str) -> dict[str, str]:
    """A result by the kind of its text, as Jupyter takes it.

    Args:
        value: a `Record`, `Trial`, `Fit` or `Survey`, or a single `Finding` or `Verdict`.
        practices: give claims and sources.
        nomagic: our version.
    """
    if isinstance(value, Finding):
        return _both(_finding(value), value.message)
    if isinstance(value, Verdict):
        return _both(_verdict(value), f"{value.arm}: {value.decision}")
    said, page, show = _result(value, practices, nomagic)
    stream = io.StringIO()
    show(value, console(stream, width=WIDTH, _environ={}))
    return _both(said + _frame(page), stream.getvalue().strip())


def _both(html: str, text: str) -> dict[str, str]:
    return {"text/html": str(html), "text/plain": text}


def _result(
    value: Any, practices: Iterable[Practice], nomagic: str
) -> tuple[Markup, str, Callable[..., None]]:
    """What came out in a few lines, the page, and what prints it on a terminal."""
    if isinstance(value, Record):
        return _record(value), html.check(value, practices, nomagic), terminal.show
    if isinstance(value, Trial):
        return _trial(value), html.trial(value, practices, nomagic), trial.show
    if isinstance(value, Fit):
        return _fit(value), html.fit(value, nomagic), fit.show
    assert isinstance(value, Survey), f"nothing shows a {type(value).__name__}"
    return _survey(value), html.look(value, practices, nomagic), look.show


def _frame(page: str) -> Markup:
    """A page in a frame of its own, without its script; links open beside the notebook.

    A link to a place within the page would load the notebook into the frame, so there are none.
    """
    still = WITHIN.sub(r"\1", page.rpartition("<script>")[0]) + "</body></html>"
    still = still.replace('rel="noreferrer"', 'rel="noreferrer" target="_blank"')
    return Markup(
        '<iframe srcdoc="{}" sandbox="allow-popups allow-popups-to-escape-sandbox" loading="lazy" '
        'title="the whole report by nomagic" width="100%" '
        'style="width: 100%; height: {}; border: 1px solid #8886"></iframe>'
    ).format(still, HEIGHT)


# -- in a few lines ------------------------------------------------------------------------------


def _lines(title: str, lines: Iterable[Markup]) -> Markup:
    kept = list(lines)
    items = Markup("").join(Markup("<li>{}</li>").format(one) for one in kept[:LISTED])
    more = len(kept) - LISTED
    rest = Markup("<p>and {} more below</p>").format(more) if more > 0 else ""
    return Markup("<p><b>{}</b></p><ul>{}</ul>{}").format(html.shown(title), items, rest)


def _pair(name: str, said: str) -> Markup:
    return Markup("<b>{}</b> {}").format(html.shown(name), html.shown(said))


def _findings(findings: Iterable[Finding]) -> Iterator[Markup]:
    for one in sorted(findings, key=lambda found: SEVERITIES.index(found.severity)):
        place = f" ({one.place})" if one.place else ""
        yield _pair(f"{one.severity} {one.practice}".strip(), f"{one.message}{place}")


def _record(record: Record) -> Markup:
    found = count(len(record.findings), "finding") if record.findings else "no findings"
    looked = f"{count(record.steps, 'step')} watched"
    return _lines(f"nomagic check: {found}, {looked}", _findings(record.findings))


def _survey(survey: Survey) -> Markup:
    found = count(len(survey.findings), "finding") if survey.findings else "no findings"
    return _lines(f"nomagic look {survey.subject}: {found}", _findings(survey.findings))


def _trial(value: Trial) -> Markup:
    shown = [one for one in value.verdicts if one.decision in trial.ORDER]
    steps = ", ".join(step.arm for step in value.recipe.steps) or "empty"
    lines = [_pair(one.arm, trial.sentence(one, value)) for one in shown]
    return _lines(f"nomagic try {value.setup}: the recipe is {steps}", lines)


def _fit(value: Fit) -> Markup:
    found = fit.headline(value)
    score = f"{found.metric} {found.value} on the test part" if found.value else "not tested yet"
    said = [found.plain] if found.plain else []
    steps = said + (fit.following(value) if value.ending == "finished" else [])
    lines = [Markup("{}").format(html.shown(one)) for one in steps]
    return _lines(f"nomagic fit {value.setup}: {score}", lines)


def _finding(one: Finding) -> Markup:
    parts = {"seen": one.seen, "fix": one.fix, "at": str(one.place or "")}
    lines = [_pair(name, said) for name, said in parts.items() if said]
    return _lines(f"{one.severity} {one.practice}: {one.message}", lines)


def _verdict(one: Verdict) -> Markup:
    facts = {
        "why": one.reason,
        "pairs": str(one.pairs or ""),
        "evidence": trial.odds(one.evidence) if one.pairs else "",
        "published effect": one.claim,
        "also": one.mechanism,
    }
    lines = [_pair(name, said) for name, said in facts.items() if said]
    return _lines(f"{one.arm}: {one.decision.lower()}", lines)
