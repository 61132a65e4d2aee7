"""Do no harm: a watched program prints, weighs and exits exactly as an unwatched one.

Each program below ``programs/harm`` prints its losses to the last digit and ends with hashes of its
weights, gradients and random state. It runs plainly and under ``nomagic check``; both must agree.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "programs" / "harm"
PROGRAMS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))

# The ten kinds that every run of the tests looks at; the others are marked slow.
ALWAYS = {
    "plain_loop",
    "functional",
    "packed_lstm",
    "transformer",
    "gan",
    "lbfgs",
    "accumulation",
    "mixed_precision",
    "iterable",
    "vae",
    "crash",
    "exits",
}

# Frames inside torch differ as soon as any hook is set (torch then calls forward through one more
# function of its own), so a traceback is compared without them: the user's frames must be the same.
TORCH_FRAME = re.compile(r'  File "[^"]*site-packages/torch/[^\n]*\n(?:    [^\n]*\n)*')


def parameters() -> list[object]:
    return [
        pytest.param(p, id=p.stem, marks=() if p.stem in ALWAYS else pytest.mark.slow)
        for p in PROGRAMS
    ]


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("program", parameters())
def test_the_program_cannot_tell(program: Path, tmp_path: Path) -> None:
    plain = run(str(program), cwd=tmp_path)
    watched = run("-m", "nomagic", "check", str(program), cwd=tmp_path)

    assert re.search(r"^weights [0-9a-f]{64}$", plain.stdout, re.MULTILINE), (
        plain.stdout + plain.stderr
    )
    assert watched.stdout == plain.stdout
    assert watched.returncode == plain.returncode, watched.stderr
    ours, theirs = TORCH_FRAME.sub("", watched.stderr), TORCH_FRAME.sub("", plain.stderr)
    assert ours[: len(theirs)] == theirs
    assert "nomagic" in ours[len(theirs) :], "the report is missing"


def test_there_are_programs_of_every_kind() -> None:
    assert {program.stem for program in PROGRAMS} > ALWAYS
    assert len(PROGRAMS) >= 20
