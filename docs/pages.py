"""Write the pages of the site to build/docs, where `make site` builds them.

A page is written by hand (docs/*.md), lies elsewhere in the project (`ELSEWHERE`), or is made from
the catalogue: one for each practice, with the diff of its fixture, what trials found (found.toml)
and what the lab log says of it. Nothing of this is committed: a new practice is its two files, and
no page of it could then be out of date. ``<!-- include: FILE -->`` takes in a file of the project.
"""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nomagic import catalog
from nomagic.__main__ import main
from nomagic.sources import SOURCES
from nomagic.words import Practice

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "tests"))

from fixtures import FOLDER, Fixture  # noqa: E402

ELSEWHERE = {
    "adding.md": "CONTRIBUTING.md",
    "bench.md": "bench/README.md",
    "changes.md": "CHANGELOG.md",
    "log.md": "lab/log.md",
}
"""Pages that lie elsewhere in the project."""
ASSETS = (".css", ".js", ".json", ".svg", ".png")

INCLUDE = re.compile(r"<!-- include: (?P<file>\S+) -->")
OPTIONS = re.compile(r"<!-- options: (?P<verb>\w+) -->")
PICTURE = re.compile(r"!\[[^\]]*\]\((?P<file>simulation\.svg)\)")
REMARK = re.compile(r"^<!--(?! (?:include|options):).*?-->\n", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#", re.MULTILINE)
ENTRY = re.compile(
    r"^## (?P<date>[\d-]+) · (?P<title>.+)\n(?P<text>(?:(?!## ).*\n?)*)", re.MULTILINE
)
CODE = re.compile(r"`[^`]+`|[\w.]*\w\([^()\s]*\)|\w+(?:_\w+)+(?:=[\w.]+)?|#? ?nomagic: skip [\w-]+")
HYPHENED = re.compile(r"(?<![\w/`-])[a-z]+(?:-[a-z]+)+(?![\w-])")
SPECIAL = re.compile(r"([\\*_\[\]<>#|])")


@dataclass(frozen=True, slots=True)
class Found:
    """What a trial of a practice found: a record of found.toml.

    ``effect``, ``low`` and ``high`` are points of ``metric``, ``pairs`` the pairs of runs that they
    rest on (0: the record does not say). ``says`` is for a record that has no effect.
    """

    practice: str
    arm: str
    setup: str
    verdict: str
    date: dt.date
    command: str
    metric: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    says: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the lab log: its date, its title and its text."""

    date: str
    title: str
    text: str


def write(out: Path) -> list[Path]:
    """Write all pages anew, and return them."""
    shutil.rmtree(out, ignore_errors=True)
    pages = dict(handwritten()) | dict(generated())
    for name, text in pages.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    for file in sorted(DOCS.rglob("*")):
        if file.suffix in ASSETS:
            copy = out / file.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return [out / name for name in pages]


# -- pages by hand --------------------------------------------------------------------------------


def handwritten() -> Iterator[tuple[str, str]]:
    """Name and text of the pages that lie in the project as they are."""
    for name, file in sources().items():
        text = linked(REMARK.sub("", (ROOT / file).read_text(encoding="utf-8")), file, name)
        text = PICTURE.sub(inlined, OPTIONS.sub(options, text))
        yield name, INCLUDE.sub(lambda match, name=name: included(match["file"], name), text)


def sources() -> dict[str, str]:
    """The name of each such page with its file, from the root of the project."""
    return {file.name: f"docs/{file.name}" for file in sorted(DOCS.glob("*.md"))} | ELSEWHERE


def included(file: str, page: str) -> str:
    """A file of the project as a part of a page: its headings stand one level lower."""
    text = linked((ROOT / file).read_text(encoding="utf-8"), file, page)
    return HEADING.sub("##", text).strip()


def options(match: re.Match[str]) -> str:
    """The options of a verb as a table, from the command line itself."""
    command = main.commands[match["verb"]]
    rows = [
        f"| `{', '.join([*option.opts, *option.secondary_opts])}"
        f"{'' if option.is_flag else f' {option.make_metavar(click.Context(command))}'}` "
        f"| {prose(option.help or '')}{default(option)} |"
        for option in command.params
        if isinstance(option, click.Option)
    ]
    return "\n".join(["| option | |", "| --- | --- |", *rows])


def default(option: click.Option) -> str:
    """What an option is by default, where its help says so."""
    return f" Default: `{option.default}`." if option.show_default else ""


def inlined(match: re.Match[str]) -> str:
    """A picture as part of the page, so that it takes the colours of the page."""
    drawn = (DOCS / match["file"]).read_text(encoding="utf-8").strip()
    return f'<div class="picture">{drawn}</div>'


def linked(text: str, file: str, page: str) -> str:
    """Let the links of a file lead to where the site has what they name.

    What the site does not have is named instead.
    """
    pages = {path: name for name, path in sources().items()}

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = os.path.normpath(Path(file).parent / target)
        inside = pages.get(path, path.removeprefix("docs/"))
        if path not in pages and not path.startswith("docs/"):
            return f"{match['text']} (`{path}`)"
        return f"[{match['text']}]({os.path.relpath(inside, Path(page).parent)}{hash_}{anchor})"

    return LINK.sub(link, text)


# -- pages from the catalogue ---------------------------------------------------------------------


def generated() -> Iterator[tuple[str, str]]:
    """Name and text of the page of each practice, and of their index."""
    templates = Environment(
        loader=FileSystemLoader(DOCS),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters |= {"prose": prose, "signed": "{:+.2f}".format}
    practices, titles = catalog.load(), catalog.titles()
    alike = {one: [p for p in practices if p.category == one] for one in titles}
    yield (
        "practices/index.md",
        templates.get_template("practices.md.j2").render(
            titles=titles,
            alike={one: some for one, some in alike.items() if some},
            total=len(practices),
        ),
    )
    page = templates.get_template("practice.md.j2")
    for practice in practices:
        yield (
            f"practices/{practice.name}.md",
            page.render(
                practice=practice,
                title=titles[practice.category],
                parts=parts(practice),
                probes={probe.__name__: first(probe) for probe in practice.needs},
                sources=[
                    (key, SOURCES[key], address(SOURCES[key].where)) for key in practice.sources
                ],
                promise=practice.promise and (practice.promise, SOURCES[practice.promise.source]),
                change=change(practice),
                found=[one for one in found() if one.practice == practice.name],
                entries=[entry for entry in log() if practice.name in named(entry)],
                alike=[one for one in alike[practice.category] if one != practice],
            ),
        )


def parts(practice: Practice) -> dict[str, str]:
    """The text of a practice by what it is about: why, against, check, try."""
    said: dict[str, list[str]] = {}
    about = "why"
    for paragraph in practice.text.split("\n\n"):
        label, colon, rest = paragraph.partition(": ")
        if colon and label in ("Against", "Check", "Try"):
            about, paragraph = label.lower(), rest
        said.setdefault(about, []).append(paragraph)
    return {about: "\n\n".join(paragraphs) for about, paragraphs in said.items()}


def prose(text: str) -> str:
    """Plain text as Markdown: what looks like code is set as code, all else means itself."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts += [SPECIAL.sub(r"\\\1", text[end : match.start()]), f"`{match[0].strip('`')}`"]
        end = match.end()
    plain = "".join([*parts, SPECIAL.sub(r"\\\1", text[end:])])
    return HYPHENED.sub(refer, plain[:1].upper() + plain[1:])


def refer(match: re.Match[str]) -> str:
    """Link a name of several words that is a practice's."""
    name = match[0]
    return f"[{name}]({name}.md)" if name in {one.name for one in catalog.load()} else name


def first(probe: type) -> str:
    """The first sentence of what a probe says of itself."""
    return " ".join(inspect.cleandoc(probe.__doc__ or "").partition("\n\n")[0].split())


def address(where: str) -> str:
    """Where a source can be read, as a link."""
    number = where.removeprefix("arXiv:")
    return f"https://arxiv.org/abs/{number}" if number != where else where


def change(practice: Practice) -> str:
    """The cure of a practice's fixture as a diff; empty where it has none."""
    fixture = Fixture(FOLDER / f"{practice.name.replace('-', '_')}.py")
    if not fixture.path.exists():
        return ""
    before, after = fixture.sick().splitlines(), fixture.healthy().splitlines()
    lines = difflib.unified_diff(before, after, n=3, lineterm="")
    return "\n".join("…" if line.startswith("@@") else line for line in [*lines][2:])


@cache
def found() -> tuple[Found, ...]:
    """What trials found, the newest first."""
    records = tomllib.loads((DOCS / "found.toml").read_text(encoding="utf-8"))["found"]
    return tuple(sorted((Found(**one) for one in records), key=lambda one: one.date, reverse=True))


@cache
def log() -> tuple[Entry, ...]:
    """The entries of the lab log."""
    text = (ROOT / "lab" / "log.md").read_text(encoding="utf-8")
    return tuple(
        Entry(match["date"], match["title"], match["text"].strip())
        for match in ENTRY.finditer(text)
    )


def named(entry: Entry) -> set[str]:
    """The practices that an entry is about: those that its title begins with."""
    names: set[str] = set()
    for word in re.findall(r"[\w-]+|[^\w\s,]", entry.title):
        if word in {one.name for one in catalog.load()}:
            names.add(word)
        elif word != "and":
            break
    return names


if __name__ == "__main__":
    print(f"{len(write(ROOT / 'build' / 'docs'))} pages")
