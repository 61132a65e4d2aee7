"""What the peers cost: their own runs beside plain ones, on the programs of the overhead table.

usage: python bench/peers/cost.py --python PYTHON [--pairs N] [--seconds S] [--only A,B]

Each tool is used as its documentation says, in an environment of its own, and compared with plain
runs in that environment. torch-audit: `autopatch`, at every 1000th step (its default) and at every
step. torchtest2: one check before the training, so seconds and not a ratio. TrainCheck: everything
traced, and with learnt invariants one step in ten after ten; few steps, since its traces grow by a
megabyte in three steps.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

# ruff: noqa: E402
import cases
import overhead
import tools

SHORT = 60
"""Steps of a run under TrainCheck; the first twenty are left out where the tool samples."""
FEW = 12
"""Steps of the run that TrainCheck learns from."""

Run = dict[str, float] | str


def text(name: str) -> str:
    """The source of a program."""
    return (overhead.HERE / "programs" / f"{name}.py").read_text()


def stopwatch(output: str) -> Run:
    """What a program's stopwatch printed."""
    found = re.search(r"stopwatch (\{[^}]*\})", output)
    return json.loads(found[1]) if found else tools.last(output)


def audited(every: int) -> Callable[[str, int, str], Run]:
    """A run with torch-audit at every so many steps."""

    def run(name: str, steps: int, python: str) -> Run:
        outcome = tools.torch_audit(text(name), python, every, str(steps))
        return stopwatch(outcome.output) if outcome.said is not None else outcome.reason

    return run


def traced(name: str, steps: int, python: str) -> Run:
    """A run under traincheck-collect, everything traced."""
    with tempfile.TemporaryDirectory() as folder:
        return _collect(name, steps, python, Path(folder), [])


def sampled(name: str, steps: int, python: str) -> Run:
    """The same with invariants of a few steps of the same program, and one step in ten."""
    options = ["--invariants", "invariants.json", "--sampling-interval", "10"]
    options += ["--warm-up-steps", "10"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            tools.learn(_fixed(name, FEW), python, Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:300]
        return _collect(name, steps, python, Path(folder), options)


def _collect(name: str, steps: int, python: str, folder: Path, options: list[str]) -> Run:
    try:
        done = tools.collect(_fixed(name, steps), python, folder, options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    told = folder / "trace" / "program_output.txt"
    return stopwatch((told.read_text() if told.is_file() else "") + done.stdout + done.stderr)


def _fixed(name: str, steps: int) -> str:
    return re.sub(r"= steps\([\d_]+\)", f"= {steps}", text(name))


def tested(name: str, python: str) -> float | str:
    """The CPU seconds of torchtest2's check of a program, before its training."""
    outcome = tools.torchtest2(text(name), python, *cases.PROGRAMS[name], steps="5")
    found = re.search(r"^took ([\d.]+)$", outcome.output, re.MULTILINE)
    return float(found[1]) if found and outcome.said is not None else outcome.reason


def pairs(
    name: str, number: int, steps: int, python: str, tool: Callable[[str, int, str], Run]
) -> dict[str, Any]:
    """Alternating runs with a tool and without; ratios, or the reason why there are none."""
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(number):
        own = tool(name, steps, python)
        if isinstance(own, str):
            return {"reason": own}
        base = overhead.plain(name, steps, python)
        wall.append(own["wall"] / base["wall"])
        cpu.append(own["cpu"] / base["cpu"])
    return {"wall": wall, "cpu": cpu, "steps": steps}


VARIANTS: dict[str, tuple[Callable[[str, int, str], Run], bool]] = {
    "torch-audit, every 1000th": (audited(1000), False),
    "torch-audit, every step": (audited(1), False),
    "TrainCheck, all": (traced, True),
    "TrainCheck, one in ten": (sampled, True),
}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every tool on one program."""
    steps = overhead.length(name, options.seconds, options.python)
    row: dict[str, Any] = {"program": name, "torchtest2": tested(name, options.python)}
    for variant, (tool, short) in VARIANTS.items():
        count = 1 if short else options.pairs
        row[variant] = pairs(name, count, SHORT if short else steps, options.python, tool)
        print(name, variant, row[variant], file=sys.stderr, flush=True)
    return row


def cell(found: dict[str, Any]) -> str:
    """A ratio of CPU times, or why there is none."""
    if "reason" in found:
        return "could not run"
    return f"{statistics.median(found['cpu']):.2f}"


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """The table, the reasons below it, and the raw numbers."""
    columns = ["program", *VARIANTS, "torchtest2, s once"]
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    reasons: list[str] = []
    for row in rows:
        once = row["torchtest2"]
        shown = f"{once:.1f}" if isinstance(once, float) else "could not run"
        cells = [cell(row[variant]) for variant in VARIANTS]
        lines.append("| " + " | ".join([row["program"], *cells, shown]) + " |")
        said = {variant: row[variant].get("reason") for variant in VARIANTS}
        said["torchtest2"] = once if isinstance(once, str) else None
        reasons += [f"- {row['program']}, {k}: {v}" for k, v in said.items() if v]
    out.mkdir(parents=True, exist_ok=True)
    where = overhead.machine()
    head = f"# What the peers cost\n\n{where['when']}, {where['processor']}; CPU time of the loop "
    head += "with the tool, divided by that of a plain run in the same environment.\n\n"
    tail = "\nCould not run:\n\n" + "\n".join(reasons) + "\n" if reasons else ""
    (out / "peers.md").write_text(head + "\n".join(lines) + "\n" + tail)
    (out / "peers.json").write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", required=True, help="the interpreter that has the peers")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds of a plain loop")
    parser.add_argument("--only", default="", metavar="A,B", help="these programs")
    parser.add_argument("--out", type=Path, default=overhead.RESULTS, help="folder of the table")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.only.split(",") if options.only else overhead.PROGRAMS:
        rows.append(measure(name, options))
        write(rows, options.out)


if __name__ == "__main__":
    main()
