"""Frameworks need no special code: real Lightning and transformers loops are watched by the same
probes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "frameworks"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def python(*command: str) -> subprocess.CompletedProcess[str]:
    """Run python in a process of its own."""
    return subprocess.run(
        [sys.executable, *command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def checked(path: Path, folder: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Check a script; its process, and the report for machines."""
    report = folder / "report.json"
    done = python("-m", "nomagic", "check", "--json", str(report), str(path))
    assert done.returncode == 0, done.stderr
    return done, json.loads(report.read_text())


def serious(report: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Practice and line of each fault and warning."""
    return [(f["practice"], f["line"]) for f in report["findings"] if f["severity"] != "note"]


@pytest.mark.parametrize("name", ["lightning_loop", "transformers_loop"])
def test_healthy_loop_is_watched_and_silent(name: str, tmp_path: Path):
    path = FOLDER / f"{name}.py"
    done, report = checked(path, tmp_path)
    numbers = [line for line in done.stdout.splitlines() if line.startswith("weights")]
    plain = python(str(path)).stdout.splitlines()
    assert numbers == [line for line in plain if line.startswith("weights")]
    assert report["steps"] > 100
    assert serious(report) == []
    assert {"zero-grad", "toggle-train-eval", "optimise-every-parameter"} <= set(report["clean"])


def broken(name: str, good: str, bad: str, folder: Path) -> tuple[Path, int]:
    """A copy of a loop with one line made faulty, and the number of that line."""
    lines = (FOLDER / f"{name}.py").read_text().splitlines()
    (index,) = [i for i, line in enumerate(lines) if line.strip() == good]
    indent = lines[index][: len(lines[index]) - len(lines[index].lstrip())]
    lines[index] = indent + bad
    path = folder / "broken.py"
    path.write_text("\n".join(lines) + "\n")
    return path, index + 1


def test_lightning_fault_is_found_on_its_line(tmp_path: Path):
    bad = "return F.cross_entropy(F.softmax(logits, dim=1), y)"
    path, line = broken("lightning_loop", "return F.cross_entropy(logits, y)", bad, tmp_path)
    assert ("logits-into-cross-entropy", line) in serious(checked(path, tmp_path)[1])


def test_transformers_fault_is_found(tmp_path: Path):
    bad = "learning_rate=2.0, lr_scheduler_type='constant', max_grad_norm=0.0,"
    path, _ = broken("transformers_loop", "learning_rate=2e-3,", bad, tmp_path)
    found = {practice for practice, _ in serious(checked(path, tmp_path)[1])}
    assert found & {"learning-rate-first", "update-ratio", "stop-at-first-nan"}, found
