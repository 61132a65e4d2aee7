"""Programs as ordinary people write them: the good ones stay silent, the faulty ones are caught.

None of them was written for one practice. Below ``programs/healthy`` no practice may report a fault
or a warning. Below ``programs/faulty`` the comments say what is wrong:

- ``# expect: NAME`` ends the line that the finding of this practice should name. Where two lines
  would both have to change (a softmax and the loss that applies it again) both are marked, and
  naming one of them is enough.
- ``# expect-severity: fault`` stands beside it where the run proves the fault.
- ``# consequence: NAME, NAME`` lists practices that the same mistake breaks as well: they may be
  reported, and need not be. Any other fault is a false one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nomagic import catalog

PROGRAMS = Path(__file__).parent / "programs"
DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).parents[2] / "shared" / "data"))

QUICK = {
    "healthy": {
        "digits_mlp",
        "breast_cancer_full_batch",
        "wine_kfold",
        "diabetes_regression",
        "ring_gan",
        "mc_dropout",
        "gradient_accumulation",
        "gcn_communities",
    },
    "faulty": {
        "functional_grads_pile_up",
        "softmax_then_cross_entropy",
        "evaluates_in_train_mode",
        "layers_in_a_list",
        "same_batches_every_epoch",
        "clipped_loss",
        "log_of_zero",
        "saturated_tanh",
    },
}
"""What every run of the tests looks at; the others are marked slow."""

EXPECT = re.compile(r"# expect: (?P<practice>[\w-]+)(?:\s+# expect-severity: (?P<severity>\w+))?")
CONSEQUENCE = re.compile(r"^# consequence: (?P<names>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Expectation:
    """What the comments of a faulty program say about one practice."""

    practice: str
    lines: frozenset[int]
    severity: str | None


def expectations(source: str) -> list[Expectation]:
    """One for each practice that the comments name."""
    lines: dict[str, set[int]] = {}
    severities: dict[str, str] = {}
    for number, line in enumerate(source.splitlines(), start=1):
        for match in EXPECT.finditer(line):
            lines.setdefault(match["practice"], set()).add(number)
            if match["severity"]:
                severities[match["practice"]] = match["severity"]
    return [Expectation(p, frozenset(found), severities.get(p)) for p, found in lines.items()]


def consequences(source: str) -> set[str]:
    """Practices that may be reported besides."""
    found = (match["names"].split(",") for match in CONSEQUENCE.finditer(source))
    return {name.strip() for names in found for name in names}


def programs(kind: str) -> list[Any]:
    """The programs of a kind, as parameters."""
    found: list[Any] = []
    for path in sorted((PROGRAMS / kind).glob("*.py")):
        marks = [] if path.stem in QUICK[kind] else [pytest.mark.slow]
        if "NOMAGIC_DATA" in path.read_text():
            missing = not DATA.is_dir()
            marks.append(pytest.mark.skipif(missing, reason=f"no data sets below {DATA}"))
        found.append(pytest.param(path, id=path.stem, marks=marks))
    return found


def check(program: Path, folder: Path) -> list[dict[str, Any]]:
    """The findings of ``nomagic check --json`` for a program."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "nomagic", "check", "--json", str(report), str(program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NOMAGIC_DATA": str(DATA)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text())["findings"]


def told(findings: list[dict[str, Any]]) -> str:
    """The findings, one a line, for the message of a failing test."""
    lines = [
        f"{f['severity']:8}{f['practice']} line {f['line']}: {f['message']} ({f['seen']})"
        for f in findings
    ]
    return "\n" + "\n".join(lines or ["(nothing)"])


@pytest.mark.parametrize("program", programs("healthy"))
def test_good_program_gets_no_warning(program: Path, tmp_path: Path) -> None:
    findings = check(program, tmp_path)
    serious = [f for f in findings if f["severity"] in ("fault", "warning")]
    assert not serious, told(serious)


@pytest.mark.parametrize("program", programs("faulty"))
def test_faulty_program_is_caught_on_its_line(program: Path, tmp_path: Path) -> None:
    source = program.read_text()
    wanted = expectations(source)
    findings = check(program, tmp_path)

    missed = [e for e in wanted if not any(matches(f, e, program) for f in findings)]
    assert not missed, f"{missed}{told(findings)}"
    known = {e.practice for e in wanted} | consequences(source)
    false = [f for f in findings if f["severity"] == "fault" and f["practice"] not in known]
    assert not false, told(false)


def matches(finding: dict[str, Any], expected: Expectation, program: Path) -> bool:
    """Whether a finding is the expected one: practice, file, line and, if proven, severity."""
    return (
        finding["practice"] == expected.practice
        and Path(finding["file"] or "").name == program.name
        and finding["line"] in expected.lines
        and expected.severity in (None, finding["severity"])
    )


def test_comments_are_understood() -> None:
    known = {practice.name for practice in catalog.load()}
    for path in sorted((PROGRAMS / "faulty").glob("*.py")):
        source = path.read_text()
        wanted = expectations(source)
        assert wanted, f"{path.name} expects nothing"
        assert source.count("# expect: ") == sum(len(e.lines) for e in wanted), path.name
        assert source.count("# expect-severity: ") == sum(bool(e.severity) for e in wanted)
        named = {e.practice for e in wanted} | consequences(source)
        assert named <= known, f"{path.name} names {named - known}"


@pytest.mark.parametrize(("kind", "least"), [("healthy", 30), ("faulty", 25)])
def test_there_are_enough_programs(kind: str, least: int) -> None:
    names = {path.stem for path in (PROGRAMS / kind).glob("*.py")}
    assert len(names) >= least
    assert names >= QUICK[kind]
