"""What following each practice changes, from the practices' own test scripts: `make docs`."""

import difflib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from fixtures import HEALTHY, SICK, Fixture, fixtures

CONTEXT = 1
"""Lines that stay the same around a change."""
APART = {"feed-the-accelerator", "know-class-balance", "no-duplicates"}
"""Practices whose scripts differ in their data, which is no way to follow them."""
LINES = 24
"""Lines of one practice; a longer change is no example."""


def sick(fixture: Fixture) -> list[str]:
    """The faulty script as its author would have written it."""
    lines = fixture.path.read_text().splitlines()
    return [SICK.sub("", line).rstrip() for line in lines if not HEALTHY.match(line)]


def change(fixture: Fixture) -> list[list[str]]:
    """The lines that change, each as a sign ("-", "+", " ", or "@" between two places) and code."""
    before, after = sick(fixture), fixture.healthy().splitlines()
    lines = list(difflib.unified_diff(before, after, n=CONTEXT, lineterm=""))[3:]
    told = [["@", ""] if line.startswith("@@") else [line[:1], line[1:]] for line in lines]
    return told if len(told) <= LINES else []


cures = {one.practice: change(one) for one in fixtures() if one.practice not in APART}
print(json.dumps(cures, indent=1, ensure_ascii=False))
