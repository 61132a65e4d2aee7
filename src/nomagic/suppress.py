"""``# nomagic: skip zero-grad, prelu`` on a line silences these practices there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nomagic.words import Finding

COMMENT = re.compile(r"#\s*nomagic:\s*skip\s+(?P<names>[\w-]+(?:\s*,\s*[\w-]+)*)")


def suppressed(finding: Finding, lines: Sequence[str]) -> bool:
    """Whether the finding's line, among the ``lines`` of its file, asks to skip its practice."""
    if finding.place is None or not 0 < finding.place.line <= len(lines):
        return False
    return any(
        finding.practice in re.split(r"\s*,\s*", comment["names"])
        for comment in COMMENT.finditer(lines[finding.place.line - 1])
    )
