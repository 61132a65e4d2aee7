"""Run what a page tells its reader to run, in the order of the page, in a folder of its own.

Fenced blocks of `bash`, `console` and `python` are run; a block with a title is first written to
the file that the title names. In a `console` block the lines after ``$ `` are commands and the
others what they printed. A remark before a block, which no reader sees, says what is special:

    <!-- run: given train.py as examples/digits.py -->  the reader's own file, from the project
    <!-- run: with --budget 40s -->                     a shorter budget than the reader's
    <!-- run: exit 1 -->                                the last command fails on purpose
    <!-- run: varies -->                                it prints something else each time
    <!-- run: without progress -->                      only standard output is shown
    <!-- run: never, because … -->                      it is not run

Several of them are separated by semicolons. `python docs/commands.py` runs pages and writes what
their commands print into them; tests/test_docs.py runs all pages and compares.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
LANGUAGES = ("bash", "console", "python")
WIDTH = 92

FENCE = re.compile(
    r"(?:^<!-- run: (?P<marks>[^>]+?) -->\n)?"
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)'
    r"^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
GIVEN = re.compile(r"given (?P<name>\S+) as (?P<file>\S+)")
CODE = re.compile(r"exit (?P<code>\d+)")
BUDGET = re.compile(r"with --budget (?P<budget>\w+)")
BUSY = "the budget is too small"
"""What nomagic says where too many others use the machine."""
LONGER = (1, 4, 16)
"""So many times its budget may a command take, one after the other."""
QUIET = "without progress"


class CommandError(AssertionError):
    """A command of a page did not do what the page says: which, where, and what it printed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the page and line where it begins, its language, title, text and marks."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    marks: tuple[str, ...]

    @property
    def never(self) -> bool:
        """Whether it is not run."""
        return any(mark.startswith("never, because ") for mark in self.marks)

    @property
    def code(self) -> int:
        """The exit code of its last command."""
        return int(self.mark(CODE, "code") or 0)

    def mark(self, pattern: re.Pattern[str], group: str) -> str:
        """What the mark of this pattern says, empty where there is none."""
        found = (pattern.fullmatch(mark) for mark in self.marks)
        return next((match[group] for match in found if match), "")

    def commands(self) -> list[tuple[str, str]]:
        """The commands of the block, each with the output that the page shows."""
        if self.language != "console":
            return [(self.text, "")]
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that are run or give a file."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            match["title"] or "",
            textwrap.dedent(match["text"]),
            tuple(mark.strip() for mark in (match["marks"] or "").split(";") if mark),
        )
        for match in FENCE.finditer(text)
        if match["language"] in LANGUAGES or match["title"]
    ]


def run(page: Path, folder: Path) -> Iterator[tuple[Block, str, str, str]]:
    """Run a page in a folder: each command with its block, what is shown of it and what came.

    Raises:
        CommandError: a command ended with another code than the page lets expect.
    """
    for block in blocks(page):
        if name := block.mark(GIVEN, "name"):
            shutil.copyfile(ROOT / block.mark(GIVEN, "file"), folder / name)
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif not block.never:
            *before, last = block.commands()
            for command, shown in before:
                yield block, command, shown, _done(block, command, folder, 0)
            yield block, last[0], last[1], _done(block, last[0], folder, block.code)


def _done(block: Block, command: str, folder: Path, code: int) -> str:
    if budget := block.mark(BUDGET, "budget"):
        command = re.sub(r"--budget \w+", f"--budget {budget}", command)
    for times in LONGER:
        done = _called(block, longer(command, times), folder)
        said = f"{done.stdout}{done.stderr or ''}"
        if done.returncode == code or BUSY not in said:
            break
    if done.returncode != code:
        raise CommandError(
            f"{block.page}:{block.line}: expected exit code {code}, got {done.returncode} from\n"
            f"{command}\n{said}"
        )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip("\n").splitlines())


def _called(block: Block, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    python = (sys.executable, "-c")
    program = python if block.language == "python" else ("bash", "-euo", "pipefail", "-c")
    return subprocess.run(
        [*program, command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if QUIET in block.marks else subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        check=False,
    )


def longer(command: str, times: int) -> str:
    """A command with so many times the budget: what a busy machine needs."""
    return re.sub(
        r"(--budget |budget=\")(\d+)", lambda match: f"{match[1]}{times * int(match[2])}", command
    )


def environment() -> dict[str, str]:
    """The reader's: nomagic on the path, nothing of ours set, as wide as the page."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOMAGIC_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "COLUMNS": str(WIDTH), "NO_COLOR": "1"}


def refresh(page: Path) -> None:
    """Write what the commands of a page print into it."""
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        for block, command, shown, came in run(page, Path(folder)):
            if block.language == "console":
                text = page.read_text(encoding="utf-8")
                start = text.index(f"$ {command}\n{shown}", done) + len(f"$ {command}\n")
                done = start + len(came)
                page.write_text(text[:start] + came + text[start + len(shown) :], encoding="utf-8")


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        print(page.name, flush=True)
        refresh(page)
