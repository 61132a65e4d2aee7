"""Sources of the programs, cured, shortened and edited as a peer's documentation asks for."""

from __future__ import annotations

import ast
import re
import textwrap

SICK = re.compile(r"#\s*sick(:\s*[\w-]+)?\s*$")
HEALTHY = re.compile(r"^(?P<indent>\s*)#\s*healthy:\s?(?P<code>.*)$")


def sick(source: str) -> str:
    """The faulty half of a fixture, without the marks."""
    lines = (line for line in source.splitlines() if not HEALTHY.match(line))
    return "\n".join(SICK.sub("", line).rstrip() for line in lines) + "\n"


def healthy(source: str) -> str:
    """The cured half of a fixture."""
    lines: list[str] = []
    for line in source.splitlines():
        cure = HEALTHY.match(line)
        if cure:
            lines.append(cure["indent"] + cure["code"])
        elif not SICK.search(line):
            lines.append(line)
    return "\n".join(lines) + "\n"


def reseeded(source: str) -> str:
    """The same program with another seed."""
    return re.sub(r"manual_seed\((\d+)\)", lambda m: f"manual_seed({int(m[1]) + 1})", source)


def shortened(source: str, epochs: int) -> str:
    """The same program with fewer epochs."""
    return re.sub(r"for epoch in range\(\d+\)", f"for epoch in range({epochs})", source)


def before_training(source: str, code: str) -> str:
    """Insert lines before the training loop: the stopwatch's block, or the first loop of epochs."""
    for node in ast.parse(source).body:
        first = ast.get_source_segment(source, node) or ""
        if first.startswith(("with Stopwatch", "for epoch")):
            return _insert(source, node.lineno - 1, code, 0)
    raise ValueError("this program has no training loop at its top level")


def model_name(source: str) -> str:
    """What the program calls its network."""
    names = {
        _name(t)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        for t in node.targets
    }
    return next((name for name in ("model", "net", "net_") if name in names), "")


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _insert(source: str, line: int, code: str, indent: int) -> str:
    lines = source.splitlines()
    lines[line:line] = textwrap.indent(textwrap.dedent(code).strip(), " " * indent).splitlines()
    return "\n".join(lines) + "\n"
