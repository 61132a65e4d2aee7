"""The pages of the catalogue: one practice, and the list of all."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console
from rich.text import Text

from nomagic.report.lines import console, hang
from nomagic.sources import SOURCES
from nomagic.words import Practice


def page(practice: Practice, out: Console) -> None:
    """Print one practice: the claim, the reason, what its check watches, and the sources."""
    for line in _page(practice, out):
        out.print(line, soft_wrap=True)


def text(practice: Practice, width: int = 88) -> str:
    """Return the page of one practice as plain text."""
    stream = io.StringIO()
    page(practice, console(stream, width=width, _environ={}))
    return stream.getvalue()


def listing(practices: Iterable[Practice], titles: Mapping[str, str], out: Console) -> None:
    """Print the name and the claim of each practice, by category."""
    by_category: dict[str, list[Practice]] = {}
    for practice in practices:
        by_category.setdefault(practice.category, []).append(practice)
    widest = max((len(p.name) for alike in by_category.values() for p in alike), default=0)
    for index, (category, alike) in enumerate(by_category.items()):
        if index:
            out.print()
        out.print(Text.assemble((titles.get(category, category), "bold"), f"  ({category})"))
        for practice in alike:
            for line in _entry(practice, widest, out):
                out.print(line, soft_wrap=True)


def _page(practice: Practice, out: Console) -> Iterator[Text]:
    yield Text.assemble((practice.name, "bold"), (f"  ({practice.category})", "dim"))
    yield Text()
    yield from hang(out, "", "", Text(practice.claim, "bold"))
    for paragraph in filter(None, practice.text.split("\n\n")):
        yield Text()
        yield from hang(out, "", "", Text(flow(paragraph)))
    if practice.needs:
        yield Text()
        yield Text("What its check watches", "bold")
        for probe in practice.needs:
            first = inspect.cleandoc(probe.__doc__ or "").partition("\n")[0]
            yield from hang(out, "  ", f"{probe.__name__}  ", Text(first))
    yield Text()
    yield Text("Sources", "bold")
    for key in practice.sources:
        yield from hang(out, "  ", f"{key:<6} ", Text(str(SOURCES.get(key, ""))))
    yield Text()
    comment = f"To silence it on a line: # nomagic: skip {practice.name}"
    yield from hang(out, "", "", Text(comment, "dim"))


def flow(paragraph: str) -> str:
    """Make of a paragraph one long line to wrap, unless its lines are a list or code."""
    lines = paragraph.splitlines()
    kept = any(line.startswith((" ", "-", "*")) for line in lines)
    return paragraph if kept else " ".join(lines)


def _entry(practice: Practice, widest: int, out: Console) -> Iterator[Text]:
    if out.width < 2 * widest:
        yield Text(f"  {practice.name}")
        yield from hang(out, "    ", "", Text(practice.claim, "dim"))
    else:
        yield from hang(out, "  ", f"{practice.name:<{widest}}  ", Text(practice.claim))
