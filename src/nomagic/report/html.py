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
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nomagic.report import draw, figures, terminal
from nomagic.report import fit as fits
from nomagic.report import trial as trials
from nomagic.report.advice import flow
from nomagic.report.cures import Change, cure
from nomagic.report.excerpt import around
from nomagic.report.grid import Grid, grid, told
from nomagic.report.ink import tick
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
    Series,
    Status,
    Survey,
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
COLUMNS = 16
"""Columns of a map whose numbers are given."""
ROWS = 8_000
"""Rows of the tables of all stages together."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:;"
"""What the page may load: its own style, and the pictures and sounds that it holds."""
HELD = 1_800_000
"""Bytes of pictures and sounds on a page, at most."""
MEDIA = {"image": "image/png", "sound": "audio/wav"}


@dataclass(frozen=True, slots=True)
class Plate:
    """A picture where it is drawn first, by its id on the page."""

    picture: Picture
    id: str


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one practice: some in full, some listed, ``more`` only counted.

    ``plates`` are the evidence, ``elsewhere`` that of it which is drawn in another place, and
    ``cure`` the change in a script of ours.
    """

    practice: str
    severity: str
    advice: Practice | None
    full: tuple[Finding, ...]
    listed: tuple[Finding, ...]
    more: int
    plates: list[Plate]
    elsewhere: list[Plate]
    cure: tuple[Change, ...]


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
    plates = _Plates()
    groups = list(_groups(record, known, plates))
    charts = [plates.of(picture) for picture in record.charts]
    clean = [look for look in record.looks if look.status == "clean"]
    return _page(
        "check.html.j2",
        nomagic,
        title=f"nomagic check {shlex.join(record.command)}",
        record=record,
        around=partial(around, folder=folder),
        groups=groups,
        charts=charts,
        found=Counter(one.severity for one in record.findings),
        severities=SEVERITIES,
        ending=terminal.ended(record),
        watched=terminal.watched(record),
        clean=[
            (look.practice, known.get(look.practice), [plates.of(one) for one in look.pictures])
            for look in clean
        ],
        proofs=plates.added(groups, charts),
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
        next=fits.following(fit) if fit.ending == "finished" else [],
        why=fits.WHY,
        most=min(200, max(10, ROWS // max(1, len(fit.stages)))),
    )


def look(survey: Survey, practices: Iterable[Practice] = (), nomagic: str = "") -> str:
    """The page of a look at data; ``practices`` give claims, ``nomagic`` is our version."""
    return _page(
        "look.html.j2",
        nomagic,
        title=f"nomagic look {survey.subject}",
        survey=_within(survey, HELD),
        known={practice.name: practice for practice in practices},
        found=Counter(one.severity for one in survey.findings),
        severities=SEVERITIES,
    )


def _within(survey: Survey, most: int) -> Survey:
    """The survey, gravest findings first, with at most so many bytes of pictures and sounds; of
    more, the text stays.
    """
    left = most

    def kept(one: Exhibit) -> Exhibit:
        nonlocal left
        left -= len(one.media)
        return one if left >= 0 else replace(one, kind="text", media=b"")

    sections = [
        replace(
            section,
            findings=tuple(
                sorted(section.findings, key=lambda one: SEVERITIES.index(one.severity))
            ),
            galleries=tuple(
                replace(gallery, exhibits=tuple(map(kept, gallery.exhibits)))
                for gallery in section.galleries
            ),
        )
        for section in survey.sections
    ]
    return replace(survey, sections=tuple(sections))


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
    """The table below a picture; of a map as the map lies, with some of its columns."""
    if any(series.kind == "map" for series in picture.series):
        return grid([_row(series, picture.rows) for series in picture.series])
    head = ("series", picture.x or "x", picture.y or "y", "low", "high")
    rows = [
        dict(zip(head, (series.name, *values), strict=False))
        for series in picture.series
        for values in zip(
            series.x, series.y, *((series.low, series.high) if series.low else ()), strict=False
        )
    ]
    return grid(rows)


def _row(series: Series, rows: str) -> dict[str, Any]:
    """One row of a map."""
    apart = -(-len(series.x) // COLUMNS) or 1
    names = (x if isinstance(x, str) else tick(x) for x in series.x[::apart])
    return {rows or "row": series.name, **dict(zip(names, series.y[::apart], strict=True))}


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


class _Plates:
    """Every picture of a page once, with an id."""

    def __init__(self) -> None:
        self._plates: dict[Picture, Plate] = {}

    def of(self, picture: Picture) -> Plate:
        """Where the picture is drawn, or will be."""
        return self._plates.setdefault(picture, Plate(picture, f"picture-{len(self._plates) + 1}"))

    def knows(self, picture: Picture) -> bool:
        """Whether it is drawn before."""
        return picture in self._plates

    def added(self, groups: Iterable[Group], charts: Iterable[Plate]) -> list[Plate]:
        """Those that stand neither with a finding nor among the charts."""
        drawn = {plate.id for group in groups for plate in group.plates}
        drawn |= {plate.id for plate in charts}
        return [plate for plate in self._plates.values() if plate.id not in drawn]


def _groups(record: Record, known: Mapping[str, Practice], plates: _Plates) -> Iterator[Group]:
    """By practice, gravest first."""
    groups: defaultdict[tuple[int, str], list[Finding]] = defaultdict(list)
    for finding in record.findings:
        groups[SEVERITIES.index(finding.severity), finding.practice].append(finding)
    evidence = {look.practice: look.pictures for look in record.looks}
    charts = set(record.charts)
    for (severity, practice), alike in sorted(groups.items(), key=lambda item: item[0][0]):
        pictures = evidence.get(practice, ())
        new = [one for one in pictures if one not in charts and not plates.knows(one)]
        again = [Plate(one, "") for one in pictures if one in charts and not plates.knows(one)]
        drawn = [plates.of(one) for one in new] or again[:1]
        every = [plates.of(one) for one in pictures]
        yield Group(
            practice,
            SEVERITIES[severity],
            known.get(practice),
            tuple(alike[:FULL]),
            tuple(alike[FULL : FULL + LISTED]),
            max(0, len(alike) - FULL - LISTED),
            drawn,
            [one for one in every if one.picture not in {plate.picture for plate in drawn}],
            cure(practice),
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
