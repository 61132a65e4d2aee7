"""Fixtures: one ordinary training script is both the sick program and its cure.

A faulty line ends in ``# sick: practice`` (the line that the finding must name) or in plain ``#
sick``; the cure stands below as ``# healthy: code``. The sick script is the file as it is; the
healthy one has every sick line dropped and every cure uncommented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SICK = re.compile(r"#\s*sick(?::\s*(?P<practice>[\w-]+))?\s*$")
HEALTHY = re.compile(r"^(?P<indent>\s*)#\s*healthy:\s?(?P<code>.*)$")

FOLDER = Path(__file__).parent / "practices"
LOOKALIKES = Path(__file__).parent / "lookalikes"


@dataclass(frozen=True)
class Fixture:
    """A practice's own script, with the lines that a finding may name."""

    path: Path

    @property
    def practice(self) -> str:
        """The practice that the file is named after."""
        return self.path.stem.replace("_", "-")

    @property
    def anchors(self) -> set[int]:
        """The lines that end in ``# sick: practice``, counted from 1."""
        lines = self.path.read_text().splitlines()
        found = ((number, SICK.search(line)) for number, line in enumerate(lines, 1))
        return {number for number, match in found if match and match["practice"] == self.practice}

    def sick(self) -> str:
        """The source of the faulty script as its author would have written it."""
        lines = self.path.read_text().splitlines()
        kept = [SICK.sub("", line).rstrip() for line in lines if not HEALTHY.match(line)]
        return "\n".join(kept) + "\n"

    def healthy(self) -> str:
        """The source of the cured script."""
        cured: list[str] = []
        for line in self.path.read_text().splitlines():
            cure = HEALTHY.match(line)
            if cure:
                cured.append(cure["indent"] + cure["code"])
            elif not SICK.search(line):
                cured.append(line)
        return "\n".join(cured) + "\n"


def fixtures() -> list[Fixture]:
    """Every fixture, by name."""
    return [Fixture(path) for path in sorted(FOLDER.glob("*.py"))]


def lookalikes() -> list[Path]:
    """Every legitimate program that resembles a fault, by name."""
    return sorted(LOOKALIKES.glob("*.py"))
