"""The documentation: every command runs, every practice has a page, nothing is out of date."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from nomagic import catalog
from nomagic.__main__ import main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import commands  # noqa: E402
import fields  # noqa: E402
import pages  # noqa: E402

QUICK = {"--version", "practices", "explain"}
"""What `nomagic` answers without torch."""
NEVER = 6
"""So many blocks may be left out, of all pages."""
SPOKEN = re.compile(r"`(?P<command>nomagic (?!-)[^`]+)`")
REPORT = "steps watched"
FAULT = re.compile(r"^ ✖ ([\w-]+)", re.MULTILINE)
UNSEEN = re.compile(r"^could not look.*?(?=^\w)", re.MULTILINE | re.DOTALL)

PAGES = [page for page in commands.PAGES if commands.blocks(page)]
BLOCKS = [block for page in PAGES for block in commands.blocks(page)]


def asked(page: Path) -> set[str]:
    """What a page asks of nomagic: its verbs, and `python` where it runs Python."""
    lines = [
        line
        for block in commands.blocks(page)
        if not block.title and not block.never
        for line in (["python"] if block.language == "python" else written(block))
    ]
    words = [line.split() for line in lines]
    return {said[1] if said[0] == "nomagic" else said[0] for said in words}


def written(block: commands.Block) -> list[str]:
    """The commands of a block, a line each."""
    return [
        line.partition("  #")[0].strip()
        for command, _ in block.commands()
        for line in command.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def parsed(line: str) -> None:
    """Parse a line as the command line would, without running it."""
    words = shlex.split(line)[1:]
    if not words[0].startswith("-"):
        command = main.commands[words[0]]
        context = click.Context(command, info_name=words[0], **command.context_settings)
        command.make_parser(context).parse_args(words[1:])


def agree(shown: str, came: str) -> bool:
    """Whether an output is the one shown, numbers and blanks apart.

    Of a report every fault that is shown must be found, unless the machine was too busy to look.
    """
    if REPORT in shown and REPORT in came:
        busy = UNSEEN.search(came)
        unseen = busy[0] if busy else ""
        faults = set(FAULT.findall(came))
        return all(name in faults or name in unseen for name in FAULT.findall(shown))
    return masked(shown) == masked(came)


def masked(output: str) -> list[str]:
    """What is the same each time: no numbers, no blanks."""
    lines = [" ".join(re.sub(r"\d[\d.,]*", "#", line).split()) for line in output.splitlines()]
    return [line for line in lines if line]


# ---- what is written ----


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page.name}:{block.line}")
def test_commands_are_those_of_the_command_line(block: commands.Block):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in written(block) if block.language in ("bash", "console") else []:
        words = line.split()
        if words[0] == "nomagic":
            parsed(line)
        if words[0] == "make":
            assert set(words[1:]) <= targets


@pytest.mark.parametrize("page", commands.PAGES, ids=lambda page: page.name)
def test_commands_within_sentences_are_too(page: Path):
    for match in SPOKEN.finditer(page.read_text(encoding="utf-8")):
        line = match["command"].replace("PRACTICE", "zero-grad")
        if line.split()[1] in main.commands:
            parsed(line)


def test_few_blocks_are_left_out():
    left_out = [block for block in BLOCKS if block.never]
    assert len(left_out) <= NEVER, [f"{block.page.name}:{block.line}" for block in left_out]


def test_marks_are_understood():
    known = (commands.GIVEN, commands.CODE, commands.BUDGET)
    for block in BLOCKS:
        for mark in block.marks:
            told = mark in ("varies", commands.QUIET) or mark.startswith("never, because ")
            assert told or any(one.fullmatch(mark) for one in known), mark


def test_every_fence_says_what_it_is():
    for page in commands.PAGES:
        opened = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)[::2]
        assert all(opened), page


# ---- what is run ----


def ran(page: Path, folder: Path) -> None:
    """Run a page, and hold what it shows against what came."""
    for block, command, shown, came in commands.run(page, folder):
        if block.language == "console" and "varies" not in block.marks:
            assert agree(shown, came), f"{page}:{block.line}: {command}: run `make shown`"


@pytest.mark.parametrize(
    "page", [one for one in PAGES if asked(one) <= QUICK], ids=lambda page: page.name
)
def test_quick_pages_run(page: Path, tmp_path: Path):
    ran(page, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [one for one in PAGES if not asked(one) <= QUICK], ids=lambda page: page.name
)
def test_pages_run(page: Path, tmp_path: Path):
    ran(page, tmp_path)


def test_a_command_that_fails_is_told(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```bash\nnomagic explain no-such-practice\n```\n")
    with pytest.raises(commands.CommandError, match=r"page\.md:3.*code 0, got 2"):
        ran(page, tmp_path)


def test_output_that_is_out_of_date_is_told(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo one\ntwo\n```\n```console\n$ echo one\n```\n")
    with pytest.raises(AssertionError, match="make shown"):
        ran(page, tmp_path)
    commands.refresh(page)
    ran(page, tmp_path)
    assert page.read_text() == 2 * "```console\n$ echo one\none\n```\n"


def test_a_report_agrees_if_it_has_the_faults():
    shown = "3 steps watched\n ✖ zero-grad   train.py:1\n ✖ overfit-one-batch   train.py:2\n"
    busy = "could not look  overfit-one-batch: too slow\nnot applicable  prelu\n"
    assert agree(shown, f"5 steps watched\n ✖ zero-grad  train.py:1\n\n{busy}")
    assert not agree(shown, f"5 steps watched\n ▲ zero-grad  train.py:1\n\n{busy}")
    assert not agree(shown, "5 steps watched\n ✖ zero-grad  train.py:1\n")


def test_a_busy_machine_gets_more_time():
    assert commands.longer("nomagic try x --budget 90s", 4) == "nomagic try x --budget 360s"
    assert commands.longer('nm.try_("x", budget="2m")', 4) == 'nm.try_("x", budget="8m")'


# ---- what is generated ----


@pytest.fixture(scope="module")
def written_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    pages.write(out)
    return out


def test_every_practice_has_a_page_and_is_linked(written_pages: Path):
    index = (written_pages / "practices" / "index.md").read_text(encoding="utf-8")
    for practice in catalog.load():
        page = (written_pages / "practices" / f"{practice.name}.md").read_text(encoding="utf-8")
        assert f"[{practice.name}]({practice.name}.md)" in index
        assert f"# {practice.name}\n" in page
        assert ("## How it is checked" in page) == (practice.check is not None)
        assert ("## How it is tried" in page) == (practice.apply is not None)
        assert "## Who disagrees" in page
        assert page.count("\n- **") == len(practice.sources)


def test_links_between_pages_lead_somewhere(written_pages: Path):
    for page in written_pages.rglob("*.md"):
        prose = re.sub(
            r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for match in pages.LINK.finditer(re.sub(r"`[^`\n]+`", "", prose)):
            path = match["target"].partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.name}: {match[0]}"


def test_a_page_shows_the_change_of_its_fixture(written_pages: Path):
    page = (written_pages / "practices" / "zero-grad.md").read_text(encoding="utf-8")
    assert "\n+        optimizer.zero_grad()\n" in page
    assert "# sick" not in page
    assert "# healthy" not in page


def test_what_was_found_is_about_practices():
    assert {one.practice for one in pages.found()} <= {one.name for one in catalog.load()}
    for one in pages.found():
        parsed(one.command)
        if one.effect is not None:
            assert one.low is not None
            assert one.high is not None
            assert one.low < one.effect < one.high


def test_the_log_is_read_by_practice():
    (entry,) = [one for one in pages.log() if one.title.startswith("no-duplicates, tame-input")]
    assert pages.named(entry) == {"no-duplicates", "tame-input-range"}


def test_plain_text_means_itself():
    assert pages.prose("a*b* [x](y) <b> # c") == r"A\*b\* \[x\](y) \<b\> \# c"
    assert pages.prose("call zero_grad() first") == "Call `zero_grad()` first"
    assert pages.prose("see zero-grad") == "See [zero-grad](zero-grad.md)"


def test_options_are_those_of_the_command_line(written_pages: Path):
    page = (written_pages / "check.md").read_text(encoding="utf-8")
    for option in main.commands["check"].params:
        if isinstance(option, click.Option):
            assert f"| `{option.opts[0]}" in page


@pytest.mark.slow
def test_all_stages_of_a_fit_are_explained():
    from nomagic.fitting.fitting import STAGES

    page = (DOCS / "fit.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w+) \| [A-Z]", page, re.MULTILINE) == list(STAGES)


def test_the_schema_of_a_look_is_the_codes():
    from nomagic.report import survey

    assert json.loads((DOCS / "look.schema.json").read_text()) == survey.schema(), "run `make docs`"


def test_tables_of_fields_are_those_of_the_schemas():
    text = fields.PAGE.read_text(encoding="utf-8")
    assert fields.refreshed(text) == text, "run `make docs`"


def test_the_simulation_on_the_page_is_the_recorded_one():
    import simulation

    found = json.loads(simulation.FOUND.read_text(encoding="utf-8"))
    text = simulation.PAGE.read_text(encoding="utf-8")
    assert simulation.refreshed(text, found) == text, "run `python docs/simulation.py`"
    assert all(one["low"] <= 0.05 for one in found["errors"]["nomagic"])
    assert found["errors"]["habit"][-1]["low"] > 0.05


# ---- the site ----


class Links(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given.get("id") or "", given.get("name") or ""}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"] or "")
        if tag in ("img", "script", "iframe", "source", "audio") and given.get("src"):
            self.loads.add(given["src"] or "")
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loads.add(given["href"] or "")


def dead(site: Path) -> Iterator[str]:
    """Links and files that a built site names and does not have."""
    parsed = {file: Links(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    for file, page in parsed.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            known = parsed[there].ids if there in parsed else set()
            if not there.exists() or (parts.fragment and unquote(parts.fragment) not in known):
                yield f"{file.relative_to(site)}: {link}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed: pip install -e .[docs]")
    project = tmp_path_factory.mktemp("project")
    shutil.copyfile(ROOT / "mkdocs.yml", project / "mkdocs.yml")
    pages.write(project / "build" / "docs")
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    return project / "site"


@pytest.mark.slow
def test_the_site_has_every_page_and_no_dead_link(site: Path):
    for practice in catalog.load():
        assert (site / "practices" / f"{practice.name}.html").exists()
    assert not list(dead(site))


@pytest.mark.slow
def test_the_site_fetches_nothing(site: Path):
    for file in site.rglob("*.html"):
        loads = Links(file.read_text(encoding="utf-8")).loads
        assert not [one for one in loads if urlsplit(one).netloc], file
    for file in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", file.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_site_can_be_searched(site: Path):
    (index,) = site.glob("**/search*.json")
    text = index.read_text(encoding="utf-8")
    assert all(practice.name in text for practice in catalog.load())


def test_dead_links_are_found(tmp_path: Path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">x</a><a href="c.html">y</a>')
    (tmp_path / "b.html").write_text('<h2 id="here">z</h2>')
    assert set(dead(tmp_path)) == {"a.html: b.html#there", "a.html: c.html"}
