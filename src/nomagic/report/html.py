"""One page that opens from disk: a watched run, a trial or a fit, with pictures and sources.

The page fetches nothing, holds its own style, suits light, dark, paper and phones, and folds what
is long. Whatever came from outside is text in it: Jinja escapes it, `shown` takes out what could
steer a reader's screen, and the page's policy forbids every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nomagic.report import draw, figures, terminal
from nomagic.report import fit as fits
from nomagic.report import trial as trials
from nomagic.report.advice import flow
from nomagic.report.excerpt import around
from nomagic.report.grid import Grid, grid, told
from nomagic.report.lines import clean, count, duration
from nomagic.sources import SOURCES
from nomagic.words import (
    SEVERITIES,
    Exhibit,
    Finding,
    Fit,
    Picture,
    Practice,
    Record,
    Status,
    Trial,
    Verdict,
)

FULL = 4
"""Findings of one practice that are shown in full."""
LISTED = 60
"""More of them that are listed with place and evidence; the rest is counted."""
LETTERS = 3_000
"""Letters of one text that are shown."""
PICTURES = 40
"""Pictures that are drawn on one page; of more, the numbers are given."""
OPEN = 12
"""Up to so many stages stand open; of more, only the last."""
ROWS = 8_000
"""Rows of the tables of all stages together."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:;"
"""What the page may load: its own style, and the pictures and sounds that it holds."""
MEDIA = {"image": "image/png", "sound": "audio/wav"}


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one practice: some in full, some listed, ``more`` only counted."""

    practice: str
    severity: str
    advice: Practice | None
    full: tuple[Finding, ...]
    listed: tuple[Finding, ...]
    more: int


def check(
    record: Record,
    practices: Iterable[Practice] = (),
    nomagic: str = "",
    folder: Path | None = None,
) -> str:
    """The page of a watched run.

    ``practices`` give claims and sources, ``nomagic`` is our version, and ``folder`` the one in
    which the run began, by default the current one.
    """
    known = {practice.name: practice for practice in practices}
    return _page(
        "check.html.j2",
        nomagic,
        title=f"nomagic check {shlex.join(record.command)}",
        record=record,
        around=partial(around, folder=folder),
        groups=list(_groups(record.findings, known)),
        found=Counter(one.severity for one in record.findings),
        severities=SEVERITIES,
        ending=terminal.ended(record),
        clean=[
            (look.practice, known.get(look.practice))
            for look in record.looks
            if look.status == "clean"
        ],
        could_not_look=_unseen(record, "could-not-look"),
        not_applicable=_unseen(record, "not-applicable"),
    )


def trial(trial: Trial, practices: Iterable[Practice] = (), nomagic: str = "") -> str:
    """The page of a trial; ``practices`` give claims and sources, ``nomagic`` our version."""
    known = {practice.name: practice for practice in practices}
    rows = figures.rows(trial)
    return _page(
        "trial.html.j2",
        nomagic,
        title=f"nomagic try {trial.setup}",
        trial=trial,
        rows=[(one, known.get(one.practice)) for one in rows],
        decided=Counter(one.decision for one in rows),
        refused=_grouped(
            (one.reason, one.arm) for one in trial.verdicts if one.decision == "NOT APPLICABLE"
        ),
        effect=partial(trials.effect, points=trial.points),
        interval=partial(trials.interval, points=trial.points),
        pictures=figures.pictures(trial),
        said=partial(trials.sentence, trial=trial),
    )


def fit(fit: Fit, nomagic: str = "") -> str:
    """The page of a fit: what the model reached, how it is used, and the stages as a story."""
    few = len(fit.stages) <= OPEN
    return _page(
        "fit.html.j2",
        nomagic,
        title=f"nomagic fit {fit.setup}",
        fit=fit,
        headline=fits.headline(fit),
        stages=[(one, few or at == len(fit.stages)) for at, one in enumerate(fit.stages, 1)],
        commands=fits.commands(fit),
        most=min(200, max(10, ROWS // max(1, len(fit.stages)))),
    )


def write(text: str, file: Path) -> None:
    """Write a page whole or not at all; folders that are missing are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


# -- the page -------------------------------------------------------------------------------------


def _page(template: str, nomagic: str, title: str, **values: Any) -> str:
    environment = _environment()
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        nomagic=nomagic,
        title=title,
        style=Markup(environment.get_template("page.css").render()),
        script=Markup(script),
        policy=f"{POLICY} script-src 'sha256-{digest}'",
        draw=_Drawing(),
        **values,
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("nomagic.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.filters.update(FILTERS)
    made.globals.update(GLOBALS)
    return made


def shown(value: Any) -> str:
    """What stands where a template names a value: text without control signs, not too long."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    more = len(text) - LETTERS
    plain = clean(text[:LETTERS].expandtabs(4)).plain
    return f"{plain}… ({more:,} more letters)" if more > 0 else plain


class _Drawing:
    """The pictures of one page, each drawn with a key of its own."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, picture: Picture) -> Markup | str:
        """The picture, or why there is none."""
        self.drawn += 1
        if self.drawn > PICTURES:
            return f"Of more than {PICTURES} pictures only the numbers are given."
        try:
            return Markup(draw.svg(picture, str(self.drawn)))
        except draw.PictureError as error:
            return f"This picture cannot be drawn: {error}."


def _source(exhibit: Exhibit) -> Markup:
    """The picture or sound of an exhibit as an address that holds it."""
    held = base64.b64encode(exhibit.media).decode()
    return Markup(f"data:{MEDIA[exhibit.kind]};base64,{held}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _paragraphs(text: str) -> list[str]:
    return [flow(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()]


def _numbers(picture: Picture) -> Grid | str:
    """The table below a picture."""
    head = ("series", picture.x or "x", picture.y or "y", "low", "high")
    rows = [
        dict(zip(head, (series.name, *values), strict=False))
        for series in picture.series
        for values in zip(
            series.x, series.y, *((series.low, series.high) if series.low else ()), strict=False
        )
    ]
    return grid(rows)


def _own(verdict: Verdict, trial: Trial) -> dict[str, Any]:
    """What a verdict is about beyond what all are about."""
    return {
        name: value for name, value in verdict.context.items() if trial.context.get(name) != value
    }


FILTERS: dict[str, Any] = {
    "count": count,
    "duration": duration,
    "grid": grid,
    "minus": _minus,
    "numbers": _numbers,
    "odds": trials.odds,
    "paragraphs": _paragraphs,
    "percent": _percent,
    "source": _source,
    "table": dict,
    "told": told,
}
GLOBALS: dict[str, Any] = {
    "is_grid": lambda value: isinstance(value, Grid),  # pyright: ignore[reportUnknownLambdaType]
    "own": _own,
    "sources": SOURCES,
}
"""What the templates may call and name."""


# -- findings -------------------------------------------------------------------------------------


def _groups(findings: Iterable[Finding], known: Mapping[str, Practice]) -> Iterator[Group]:
    """By practice, gravest first."""
    groups: defaultdict[tuple[int, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[SEVERITIES.index(finding.severity), finding.practice].append(finding)
    for (severity, practice), alike in sorted(groups.items(), key=lambda item: item[0][0]):
        yield Group(
            practice,
            SEVERITIES[severity],
            known.get(practice),
            tuple(alike[:FULL]),
            tuple(alike[FULL : FULL + LISTED]),
            max(0, len(alike) - FULL - LISTED),
        )


def _unseen(record: Record, status: Status) -> dict[str, list[str]]:
    return _grouped(
        (look.reason or "no reason given", look.practice)
        for look in record.looks
        if look.status == status
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names by their reason."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for reason, name in pairs:
        groups[reason].append(name)
    return groups
