"""What following a practice changes, in a small script of ours that broke it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change: ``sign`` is "-" before, "+" after, " " in both, "@" between places."""

    sign: str
    code: str


def cure(practice: str) -> tuple[Change, ...]:
    """The lines that change, without their common indent; none where the cure is no such line."""
    told = (Change(sign, code) for sign, code in _cures().get(practice, ()))
    lines = [line for line in told if line.sign != " " or any(map(str.isalnum, line.code))]
    indent = min((_indent(line.code) for line in lines if line.code.strip()), default=0)
    return tuple(Change(line.sign, line.code[indent:]) for line in lines)


def _indent(code: str) -> int:
    return len(code) - len(code.lstrip())


@cache
def _cures() -> dict[str, list[list[str]]]:
    file = resources.files("nomagic.report") / "cures.json"
    return json.loads(file.read_text(encoding="utf-8"))
