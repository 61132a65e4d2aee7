"""A look at data on a terminal: each question with its answer, what is wrong first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from nomagic.report.lines import apart, clean, count, duration, glyphs, hang, spelt
from nomagic.report.progress import Progress
from nomagic.words import SEVERITIES, Finding, Section, Severity, Survey

SAID = 2
"""Sentences of a section that are printed; the page has all."""
REMARKS = 6
STYLE: dict[Severity, str] = {"fault": "bold red", "warning": "bold yellow", "note": "cyan"}
INDENT = "   "


def show(survey: Survey, out: Console, written: str = "") -> None:
    """Print what was found, and where it was ``written``."""
    for line in _report(survey, out, written):
        out.print(line, soft_wrap=True)


class Screen(Progress):
    """Shows which question is asked now: on a terminal one line that changes, in a pipe each."""

    def tell(self, survey: Survey) -> None:
        """Show what goes on."""
        if not survey.phase:
            return
        line = clean(spelt(f"{INDENT}{survey.phase}: {survey.subject}", self.out), "dim")
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self.out.print(line, soft_wrap=True)


def _report(survey: Survey, out: Console, written: str) -> Iterator[Text]:
    dot = f" {glyphs(out).dot} "
    parts = [f"nomagic look {survey.subject}"]
    parts += [f"{value:,} {name}" if isinstance(value, int) else f"{name}: {value}"
              for name, value in survey.context.items() if name != "seed"]  # fmt: skip
    header = clean(spelt(dot.join([*parts, duration(survey.seconds)]), out))
    header.stylize("bold", 0, len("nomagic"))
    yield from hang(out, "", "", header)
    for remark in survey.remarks[:REMARKS]:
        yield from hang(out, "", "", _said(remark, out))
    for section in survey.sections:
        yield Text()
        yield from _section(section, out)
    yield Text()
    yield from apart(out, _closing(survey), clean(written))


def _section(section: Section, out: Console) -> Iterator[Text]:
    signs = glyphs(out)
    severity = section.severity
    if section.skipped:
        yield Text.assemble(" ", (signs.dot, "dim"), " ", clean(section.name, "bold"))
        yield from hang(out, INDENT, "", _said(section.skipped, out, "dim"))
        return
    sign = (getattr(signs, severity), STYLE[severity]) if severity else (signs.tick, "green")
    yield Text.assemble(" ", sign, " ", clean(section.name, "bold"))
    for sentence in section.says[:SAID]:
        yield from hang(out, INDENT, "", _said(sentence, out))
    ordered = sorted(section.findings, key=lambda one: SEVERITIES.index(one.severity))
    for finding in ordered:
        yield from _finding(finding, out)


def _finding(finding: Finding, out: Console) -> Iterator[Text]:
    signs = glyphs(out)
    sign = (getattr(signs, finding.severity), STYLE[finding.severity])
    message = _said(finding.message, out, "bold" if finding.severity != "note" else "")
    yield Text.assemble(INDENT, sign, " ") + message
    if finding.seen:
        yield from hang(out, f"{INDENT}  ", "seen  ", _said(finding.seen, out))
    if finding.fix:
        yield from hang(out, f"{INDENT}  ", "fix   ", _said(finding.fix, out))


def _closing(survey: Survey) -> Text:
    found = Counter(one.severity for one in survey.findings)
    told = [count(found[severity], severity) for severity in SEVERITIES if found[severity]]
    left_out = sum(bool(section.skipped) for section in survey.sections)
    text = ", ".join(told) or "nothing is wrong with what was looked at"
    return Text(text + (f"; {count(left_out, 'question')} not asked" if left_out else ""))


def _said(text: str, out: Console, style: str = "") -> Text:
    return clean(spelt(text, out), style)
