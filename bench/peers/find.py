"""Who finds what: nomagic, torch-audit, torchtest2 and TrainCheck on the same faults.

usage: python bench/peers/find.py --python PYTHON [--only A,B]

PYTHON is the interpreter of an environment that holds torch, scikit-learn, torch-audit, torchtest2
and traincheck. A tool *found* a fault when it says something of the faulty script that it does not
say of the cured one; what it says of the cured one is a false alarm. Both run with the same seed;
TrainCheck learns from the cured script with another seed. The raw words stand beside the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cases
import source as sources
import tools

RESULTS = Path(__file__).resolve().parents[1] / "results"
EPOCHS = 2
"""TrainCheck wants short runs: its inference takes minutes for each hundred steps."""
TOOLS = ("nomagic", "torch-audit", "torchtest2", "TrainCheck")


def halves(case: cases.Case, interpreter: str) -> dict[str, list[tools.Outcome]]:
    """What every tool says of the faulty and of the cured script."""
    text = case.file.read_text()
    both = [sources.sick(text), sources.healthy(text)]
    batch, loss = case.batch, case.loss
    found = {
        "nomagic": [tools.nomagic(script) for script in both],
        "torch-audit": [tools.torch_audit(script, interpreter) for script in both],
        "torchtest2": [tools.torchtest2(script, interpreter, batch, loss) for script in both],
    }
    short = [sources.shortened(script, EPOCHS) for script in both]
    with tempfile.TemporaryDirectory() as name:
        try:
            invariants = tools.learn(sources.reseeded(short[1]), interpreter, Path(name))
        except Exception as error:
            found["TrainCheck"] = [tools.Outcome(None, str(error))] * 2
        else:
            found["TrainCheck"] = [
                tools.violated(script, interpreter, invariants) for script in short
            ]
    return found


def verdict(sick: tools.Outcome, healthy: tools.Outcome) -> str:
    """A cell of the table."""
    if sick.said is None or healthy.said is None:
        return "could not run"
    new = sorted(set(sick.said) - set(healthy.said))
    alarms = f" ({len(healthy.said)} on the cured)" if healthy.said else ""
    shown = ", ".join(new[:2]) + (f" and {len(new) - 2} more" if len(new) > 2 else "")
    return (f"**found**: {shown}" if new else "–") + alarms


def faults(interpreter: str, only: list[str], out: Path) -> None:
    """The table of faults."""
    rows: list[dict[str, Any]] = []
    for case in cases.FAULTS:
        if only and case.file.stem not in only:
            continue
        found = halves(case, interpreter)
        rows.append({"fault": case.name, "tools": {t: [vars(o) for o in found[t]] for t in TOOLS}})
        cells = {tool: verdict(*found[tool]) for tool in TOOLS}
        rows[-1]["cells"] = cells
        print(case.name, cells, flush=True)
        _write(rows, out)


def _write(rows: list[dict[str, Any]], out: Path) -> None:
    lines = [f"| fault | {' | '.join(TOOLS)} |", "| --- |" + " --- |" * len(TOOLS)]
    lines += [f"| {r['fault']} | {' | '.join(r['cells'][t] for t in TOOLS)} |" for r in rows]
    count = {t: sum("found" in r["cells"][t] for r in rows) for t in TOOLS}
    alarms = {t: sum("on the cured" in r["cells"][t] for r in rows) for t in TOOLS}
    lines.append(f"| found, of {len(rows)} | {' | '.join(str(count[t]) for t in TOOLS)} |")
    lines.append(f"| cured scripts alarmed | {' | '.join(str(alarms[t]) for t in TOOLS)} |")
    out.mkdir(parents=True, exist_ok=True)
    (out / "faults.md").write_text("# Who finds what\n\n" + "\n".join(lines) + "\n")
    for row in rows:
        for outcomes in row["tools"].values():
            for outcome in outcomes:
                outcome["output"] = ""
    (out / "faults.json").write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", required=True, help="the interpreter that has the peers")
    parser.add_argument("--only", default="", metavar="A,B", help="these faults")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else []
    faults(options.python, only, options.out)


if __name__ == "__main__":
    main()
