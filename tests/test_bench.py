"""The benchmark itself works: one short pair of runs, and the table that comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("NOMAGIC_DATA", ROOT.parent / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets below {DATA}")
def test_a_short_pair_gives_a_table(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "overhead.py"), "--quick"]
    done = subprocess.run(
        [*command, "--only", "functional,accumulation", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    results = json.loads((tmp_path / "overhead.json").read_text())["results"]
    assert [result["program"] for result in results] == ["functional", "accumulation"]
    for result in results:
        (pair,) = result["pairs"]
        assert pair["watched"]["errors"] == {}
        assert pair["watched"]["start"] > 0, "the first ticks are always looked at"
        assert 0 < pair["watched"]["start"] < pair["watched"]["wall"]
        assert 0.5 < pair["ratio"]["cpu"] < 10
    table = (tmp_path / "overhead.md").read_text()
    assert "| functional |" in table
    assert "| accumulation |" in table


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets below {DATA}")
def test_engines_are_raced_and_asked_for_a_verdict(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "engine.py"), "--quick", "--setups", "mlp"]
    done = subprocess.run(
        [*command, "--peers-at", "", "--questions", "tenth", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, "NOMAGIC_DATA": str(DATA)},
    )
    assert done.returncode == 0, done.stdout + done.stderr

    results = json.loads((tmp_path / "engine.json").read_text())
    timed = {row["rival"]: row for row in results["runs"]}
    assert {"sequential", "one thread", "stacked", "processes", "plain"} <= set(timed)
    assert timed["chosen"]["how"] in timed
    assert all(row["accuracy"] > 0.5 for row in timed.values() if "accuracy" in row)
    verdicts = {row["rival"]: row for row in results["verdicts"]}
    assert verdicts["nomagic"]["verdict"] == verdicts["sequential"]["verdict"] == "HURTS"
    assert verdicts["nomagic"]["pairs"] <= verdicts["sequential"]["pairs"] == 16
    table = (tmp_path / "engine.md").read_text()
    assert "| mlp, digits | 2 |" in table
    assert "| a tenth of the rate hurts | nomagic |" in table


def test_an_unknown_program_is_named() -> None:
    command = [sys.executable, str(ROOT / "bench" / "overhead.py"), "--only", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "tiny_mlp" in done.stderr


@pytest.mark.slow
def test_models_in_the_same_time_give_a_table(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "fit.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--sets", "wine", "--peers", "nomagic,mlp,trees"],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    rows = json.loads((tmp_path / "fit.json").read_text())
    assert [row["peer"] for row in rows] == ["nomagic", "mlp", "trees"]
    for row in rows:
        assert "reason" not in row
        assert 0 <= row["value"] <= 100
        assert row["start"] > 0, "imports are told apart"
    assert rows[-1]["value"] > 80, "one configuration of the trees is always finished"
    page = (tmp_path / "fit.md").read_text()
    assert "| wine | accuracy, % | 4 | 1 |" in page
    assert "- wine: " in page, "ours is held against the best of the others"


def test_an_unknown_data_set_is_named() -> None:
    command = [sys.executable, str(ROOT / "bench" / "fit.py"), "--sets", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "california-housing" in done.stderr
