"""The report that a person reads below the script's own output, and its picture."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from nomagic.report.lines import apart, clean, console, count, glyphs, hang
from nomagic.words import SEVERITIES, Finding, Record, Severity, Status

SHOWN = 3
"""Findings of one practice that are shown in full; the others are counted, with their places."""
PLACES = 5
REASONS = 3
"""Reasons why a practice does not apply that are told; of more, only the practices' names."""
NAMES = 6
STYLE: dict[Severity, str] = {"fault": "bold red", "warning": "bold yellow", "note": "cyan"}
INDENT = "   "

Lines = Iterator[Text]


def show(record: Record, out: Console, written: str = "") -> None:
    """Print the report of one run, and where it was ``written`` for machines."""
    for line in _report(record, out, written):
        out.print(line, soft_wrap=True)


def svg(record: Record, width: int = 100) -> str:
    """The report as a picture of a terminal, complete in itself: it fetches no font."""
    out = console(io.StringIO(), record=True, width=width, force_terminal=True, _environ={})
    show(record, out)
    picture = out.export_svg(title=" ".join(("nomagic check", *record.command)))
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def _report(record: Record, out: Console, written: str) -> Lines:
    yield Text()
    yield from _header(record, out)
    yield from _ending(record, out)
    for remark in record.remarks:
        yield from hang(out, "", "", clean(remark))
    yield Text()
    for severity in SEVERITIES:
        for alike in _by_practice(record.findings, severity):
            yield from _alike(alike, out)
    if record.findings:
        yield Text()
    yield from _not_looked_at(record, out)
    yield from _cost(record, out)
    yield Text()
    yield from apart(out, _closing(record, out), clean(written and f"report: {written}"))


def _header(record: Record, out: Console) -> Lines:
    dot = f" {glyphs(out).dot} "
    parts = [
        "nomagic",
        f"{watched(record)} watched",
        f"{_percent(record.cost.share)} overhead",
        ", ".join((f"{count(len(record.looks), 'practice')} looked at", *_outcomes(record))),
    ]
    header = Text(dot.join(parts))
    header.stylize("bold", 0, len("nomagic"))
    yield from hang(out, "", "", header)


def watched(record: Record) -> str:
    """How long the run was: 66 steps; 66 backwards where no optimizer of torch stepped."""
    if record.backwards and not record.steps:
        return count(record.backwards, "backward")
    return count(record.steps, "step")


def _outcomes(record: Record) -> Iterator[str]:
    words: dict[Status, str] = {
        "clean": "clean",
        "not-applicable": "not applicable",
        "could-not-look": "could not look",
    }
    for status, word in words.items():
        number = sum(look.status == status for look in record.looks)
        if number:
            yield f"{number} {word}"


def _ending(record: Record, out: Console) -> Lines:
    if said := ended(record):
        yield from hang(out, "", "", clean(said, "bold"))


def ended(record: Record) -> str:
    """How the script ended, in a sentence; empty if it just finished."""
    ending = record.ending
    after = f"after {watched(record)}"
    return {
        "finished": "",
        "stopped": f"The script was stopped {after}, as asked.",
        "exit": f"The script left with exit code {ending.code} {after}." if ending.code else "",
        "interrupted": f"The script was interrupted {after}; this is what was seen until then.",
        "crashed": f"The script crashed {after}: {ending.error}. This is what was seen until then.",
    }[ending.how]


def _by_practice(findings: Sequence[Finding], severity: Severity) -> Iterator[list[Finding]]:
    groups: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.severity == severity:
            groups[finding.practice].append(finding)
    yield from groups.values()


def _alike(alike: list[Finding], out: Console) -> Lines:
    note = alike[0].severity == "note"
    shown, more = (alike[:1], alike[1:]) if note else (alike[:SHOWN], alike[SHOWN:])
    for finding in shown:
        yield from _title(finding, out)
        yield from _note(finding, out) if note else _body(finding, out)
    if not note:
        why = clean(f"nomagic explain {alike[0].practice}", "dim")
        yield from hang(out, INDENT, "why     ", why)
    if more:
        yield from hang(out, INDENT, "", clean(_more(more), "dim"))


def _more(more: list[Finding]) -> str:
    places = list(dict.fromkeys(str(finding.place) for finding in more if finding.place))
    where = ", ".join(places[:PLACES]) + (" and elsewhere" if len(places) > PLACES else "")
    return f"and {len(more)} more like it" + (f": {where}" if where else "")


def _title(finding: Finding, out: Console) -> Lines:
    sign = getattr(glyphs(out), finding.severity)
    name = clean(finding.practice, "" if finding.severity == "note" else "bold")
    place = clean(str(finding.place) if finding.place else "", "dim")
    yield from apart(out, Text.assemble(" ", (sign, STYLE[finding.severity]), " ") + name, place)


def _body(finding: Finding, out: Console) -> Lines:
    yield from hang(out, INDENT, "", clean(finding.message))
    yield from hang(out, INDENT, "seen    ", clean(finding.seen))
    yield from hang(out, INDENT, "fix     ", clean(finding.fix))


def _note(finding: Finding, out: Console) -> Lines:
    parts = (part.rstrip(".") for part in (finding.message, finding.seen, finding.fix) if part)
    yield from hang(out, INDENT, "", clean(f" {glyphs(out).dot} ".join(parts), "dim"))


def _not_looked_at(record: Record, out: Console) -> Lines:
    could_not = _by_reason(record, "could-not-look")
    for reason, names in could_not.items():
        yield from hang(out, "", "could not look  ", clean(f"{_some(names)}: {reason}"))
    reasons = _by_reason(record, "not-applicable")
    if len(reasons) > REASONS:
        names = sorted(name for names in reasons.values() for name in names)
        said = f"{', '.join(names)} (--json says why)"
    else:
        said = "; ".join(f"{_some(names)} ({reason})" for reason, names in reasons.items())
    if reasons:
        yield from hang(out, "", "not applicable  ", clean(said, "dim"))


def _some(names: list[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")


def _by_reason(record: Record, status: Status) -> dict[str, list[str]]:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for look in record.looks:
        if look.status == status:
            reasons[look.reason or "no reason given"].append(look.practice)
    return reasons


def _cost(record: Record, out: Console) -> Lines:
    cost = record.cost
    said = (
        f"{_percent(cost.share)}: {cost.watching:.2f} s on top of the script's {cost.own:.1f} s; "
        f"besides, {cost.start:.1f} s to start and {cost.experiments:.1f} s of experiments"
    )
    yield from hang(out, "", "overhead        ", Text(said, "dim"))


def _closing(record: Record, out: Console) -> Text:
    found = Counter(finding.severity for finding in record.findings)
    said = [Text(count(found[kind], kind), STYLE[kind]) for kind in SEVERITIES if found[kind]]
    dot = Text(f" {glyphs(out).dot} ")
    return dot.join(said) if said else Text("no findings", "bold")


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
