"""What watching costs: the training loops below programs/ with and without ``nomagic check``.

Pairs of runs, plain and watched, alternate in one session, on one thread. A program prints the
wall and the CPU seconds of its training loop; the start-up that the watch books inside the loop
(the first ticks) is taken off and given apart. CPU time stands beside wall time because it minds
less what else the machine does.

usage: python bench/overhead.py [--pairs N] [--seconds S] [--only A,B] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted(p.stem for p in (HERE / "programs").glob("*.py") if p.stem != "stopwatch")
RESULTS = HERE / "results"
MEDIAN, WORST = 1.05, 1.10
"""The goal: no more than this for the median of the programs, and for the worst of them."""
COLUMNS = (
    "program",
    "step, ms",
    "plain loop, s",
    "wall ratio (quartiles)",
    "CPU ratio (quartiles)",
    "start-up, s",
    "afterwards, s",
)
TRIAL = 8
"""A program is measured for the number of its steps on an eighth of its default length."""


def run(command: list[str]) -> dict[str, Any]:
    """Run a program to its end; what its stopwatch and its record said, and the whole wall time."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    found = json.loads(told["stopwatch"]) | json.loads(told.get("record", "{}"))
    return found | {"whole": whole, "load": os.getloadavg()[0]}


def plain(name: str, steps: int, python: str = sys.executable) -> dict[str, Any]:
    """One run by python itself."""
    return run([python, str(HERE / "programs" / f"{name}.py"), "--steps", str(steps)])


def watched(name: str, steps: int) -> dict[str, Any]:
    """One run under watch."""
    program = str(HERE / "programs" / f"{name}.py")
    return run([sys.executable, str(HERE / "watched.py"), program, "--steps", str(steps)])


def default_steps(name: str) -> int:
    """The length that a program has by default."""
    source = (HERE / "programs" / f"{name}.py").read_text()
    return int(source.split("n_steps = steps(")[1].split(")")[0].replace("_", ""))


def length(name: str, seconds: float, python: str = sys.executable) -> int:
    """The steps that take about so many seconds of CPU time."""
    trial = max(20, default_steps(name) // TRIAL)
    took = plain(name, trial, python)["cpu"]
    return max(trial, round(trial * seconds / took))


def ratios(pair: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, float]:
    """Watched to plain, beyond start-up.

    Start-up is booked in wall seconds; of the CPU time it takes the same share.
    """
    base, own = pair
    rest = own["wall"] - own["start"]
    return {"wall": rest / base["wall"], "cpu": own["cpu"] * rest / own["wall"] / base["cpu"]}


def measure(name: str, pairs: int, seconds: float) -> dict[str, Any]:
    """The pairs of one program, alternating which comes first."""
    steps = length(name, seconds)
    rows: list[dict[str, Any]] = []
    for number in range(pairs):
        first, second = (plain, watched) if number % 2 == 0 else (watched, plain)
        one, other = first(name, steps), second(name, steps)
        base, own = (one, other) if number % 2 == 0 else (other, one)
        rows.append({"plain": base, "watched": own, "ratio": ratios((base, own))})
        print(f"{name} {number + 1}/{pairs} {rows[-1]['ratio']}", file=sys.stderr, flush=True)
    return {"program": name, "steps": steps, "pairs": rows}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    rows = result["pairs"]

    def typical(kind: str, key: str) -> float:
        return statistics.median(row[kind][key] for row in rows)

    return {
        "program": result["program"],
        "step": typical("plain", "cpu") / result["steps"] * 1e3,
        "loop": typical("plain", "wall"),
        "wall": quartiles([row["ratio"]["wall"] for row in rows]),
        "cpu": quartiles([row["ratio"]["cpu"] for row in rows]),
        "start": typical("watched", "start"),
        "afterwards": typical("watched", "afterwards"),
        "findings": rows[0]["watched"]["findings"],
    }


def table(lines: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    out = [
        "| " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * (len(COLUMNS) - 1),
    ]
    for line in lines:
        spread = [f"{m:.3f} ({a:.3f}–{b:.3f})" for a, m, b in (line["wall"], line["cpu"])]
        out.append(
            f"| {line['program']} | {line['step']:.2f} | {line['loop']:.1f} | {' | '.join(spread)} "
            f"| {line['start']:.2f} | {line['afterwards']:.1f} |"
        )
    for kind in ("wall", "cpu"):
        middles = [line[kind][1] for line in lines]
        median, worst = statistics.median(middles), max(middles)
        met = "met" if median <= MEDIAN and worst <= WORST else "missed"
        out.append(
            f"\n{kind}: median {median:.3f}, worst {worst:.3f}; "
            f"the goal (median ≤ {MEDIAN:.2f}, none above {WORST:.2f}) is {met}"
        )
    return "\n".join(out) + "\n"


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    import torch

    import nomagic

    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            processor = line.split(":")[1].strip()
    return {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "nomagic": nomagic.__version__,
    }


def write(results: list[dict[str, Any]], folder: Path, options: argparse.Namespace) -> None:
    """The table, and the raw numbers beside it."""
    where = machine()
    loads = [
        row[kind]["load"] for r in results for row in r["pairs"] for kind in ("plain", "watched")
    ]
    lines = [summary(result) for result in results]
    head = (
        f"# Overhead of watching\n\n"
        f"{where['when']}, {where['processor']}, {where['cores']} cores, one thread a run; python "
        f"{where['python']}, torch {where['torch']}, nomagic {where['nomagic']}. "
        f"{options.pairs} alternating pairs a program; load average of the machine "
        f"{min(loads):.1f} to {max(loads):.1f} (1.0 is this program alone). "
        f"How it is measured: [README](../README.md). Raw numbers: overhead.json.\n\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overhead.md").write_text(head + table(lines))
    document = {"machine": where, "options": vars(options) | {"out": ""}, "results": results}
    (folder / "overhead.json").write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs of each program")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds of a plain loop")
    parser.add_argument("--only", default="", metavar="A,B", help="these programs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument(
        "--quick", action="store_true", help="a pair of half a second: does it run?"
    )
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds = 1, 0.5
    names = options.only.split(",") if options.only else PROGRAMS
    unknown = set(names) - set(PROGRAMS)
    if unknown:
        parser.error(
            f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}"
        )
    results: list[dict[str, Any]] = []
    for name in names:
        results.append(measure(name, options.pairs, options.seconds))
        write(results, options.out, options)  # what is done is not lost
    print(table([summary(result) for result in results]))


if __name__ == "__main__":
    main()
