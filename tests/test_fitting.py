"""Fits of small setups from beginning to end: what comes out, what is kept, what goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nomagic import described, setups
from nomagic.datasets import data
from nomagic.fitting import run, saved
from nomagic.fitting.case import FitError, apart
from nomagic.fitting.ledger import Ledger, LedgerError
from nomagic.trial import recipe as recipes
from nomagic.words import Fit, Setup, Stage

OWN = """
from dataclasses import replace
from functools import partial

import torch
from torch import nn

import nomagic as nm

digits = nm.data("digits")
few = replace(digits, x=digits.x[:500], y=digits.y[:500])


def net(form):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, 32), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(32, form.classes),
    )


setup = nm.Setup(
    data=few, model=net, optimizer=partial(torch.optim.AdamW, lr=0.01), epochs=4, batch_size=64
)
"""
QUICK: dict[str, Any] = {"skip": ("regularise", "tune"), "members": 2}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    return file


def stages(fit: Fit) -> dict[str, Stage]:
    return {stage.name: stage for stage in fit.stages}


def test_a_setup_of_ones_own_is_fitted_saved_and_loaded(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[str] = []
    fit = run.run(own, budget="60s", out=out, tell=lambda f: seen.append(f.phase), **QUICK)
    assert fit.ending == "finished"
    assert fit.context["code"] == str(own)
    found = stages(fit)
    assert found["overfit"].numbers["chosen"] == "your network"
    assert {"data", "baselines", "overfit", "squeeze", "trust", "test"} <= set(found)
    assert all(stage.says or stage.skipped for stage in fit.stages)
    assert fit.score["accuracy"] > 0.7
    assert fit.score["low"] <= fit.score["accuracy"] <= fit.score["high"]
    assert any(phase.startswith("squeeze") for phase in seen)
    with pytest.raises(described.DescriptionError, match="pass the setup"):
        saved.load(out)
    model = saved.load(out, own)
    rest, test = apart(setups.resolve(own).data, setups.resolve(own), 0.15, 0)
    assert test is not None
    mean, spread = model.predict(test.x)
    assert mean.shape == spread.shape == (len(test), 10)
    assert float((torch.tensor(mean).argmax(1) == test.y).double().mean()) == fit.score["accuracy"]
    assert len(rest) + len(test) == 500


def test_the_same_command_again_takes_no_time_and_says_the_same(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run.run(own, budget="60s", out=out, **QUICK)
    weights = (out / "model.safetensors").read_bytes()
    again = run.run(own, budget="60s", out=out, **QUICK)
    assert again.stages == first.stages
    assert (out / "model.safetensors").read_bytes() == weights


def test_until_and_from(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    part = run.run(own, budget="60s", out=out, until="baselines", **QUICK)
    assert [stage.name for stage in part.stages] == ["data", "baselines"]
    assert part.ending == "stopped"
    assert not (out / "model.safetensors").exists()
    whole = run.run(own, budget="60s", out=out, **QUICK)
    assert whole.stages[:2] == part.stages
    anew = run.run(own, budget="60s", out=out, from_="squeeze", **QUICK)
    kept = [stage.name for stage in whole.stages].index("squeeze")
    assert anew.stages[:kept] == whole.stages[:kept]
    assert anew.ending == "finished"


def test_the_built_in_ladder_grows_a_network(tmp_path: Path) -> None:
    fit = run.run("wine", budget="60s", out=tmp_path / "out", until="overfit", **QUICK)
    found = stages(fit)["overfit"]
    names = [rung["network"] for rung in found.numbers["rungs"]]
    assert names[0] == "linear"
    assert found.numbers["chosen"] in names
    assert found.numbers["one batch"]["loss left"] < 0.1
    assert found.numbers["diagnosis"]["trouble"] in (
        "bias",
        "variance",
        "both",
        "ceiling",
        "unfinished",
    )


def test_a_regression_with_large_targets_is_standardised_and_told_back(tmp_path: Path) -> None:
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    y = 50_000 + 9_000 * (x[:, 0] - x[:, 1] ** 2)
    setup = Setup(
        (x, y), described.restore({"name": "nomagic.parts.nets:mlp"}), name="houses", epochs=20
    )
    fit = run.run(setup, budget="15s", out=tmp_path / "out", **QUICK)
    assert fit.score["r2"] > 0.5
    known = {stage.name: stage for stage in fit.stages}
    own = float(y.std())
    assert 0.05 * own < known["trust"].numbers["test"]["rmse"] < own
    (gallery,) = known["test"].galleries
    assert "off by" in gallery.exhibits[0].caption
    model = saved.load(tmp_path / "out", setup)
    mean, _ = model.predict(x)
    found = torch.as_tensor(mean).flatten()
    assert float(((found - y) ** 2).mean()) < 0.5 * float(y.var())
    prediction = model.predict(x)
    assert prediction.low is not None
    assert prediction.high is not None
    inside = (torch.as_tensor(prediction.low) <= y) & (y <= torch.as_tensor(prediction.high))
    assert 0.7 < float(inside.double().mean()) <= 1.0


def test_a_recipe_is_followed(tmp_path: Path) -> None:
    text = (
        'version = 1\nsetup = "digits"\nmetric = "accuracy"\nrate = 1.0\n[[tricks]]\n'
        'practice = "batch-norm"\narm = "batch-norm"\nverdict = "HELPS"\n'
        'effect = 0.01\nlow = 0.005\nhigh = 0.02\nevidence = 100.0\nbetter = 0.9\npairs = 16\n'
        'failures = [0, 0]\ncost = 1.0\n'
    )  # fmt: skip
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    fit = run.run(
        "wine",
        budget="60s",
        out=tmp_path / "out",
        recipe=file,
        skip=("overfit", "tune"),
        members=1,
        until="squeeze",
    )
    assert "batch-norm" in stages(fit)["regularise"].says[0]
    assert recipes.read(file).steps[0].arm == "batch-norm"
    change = stages(fit)["regularise"].change
    assert "batch_norm" in json.dumps(change)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "stage": ({"until": "bake"}, "there is no stage 'bake'"),
    "skip": ({"skip": ("squeeze",)}, "cannot be skipped"),
    "size": ({"max_bytes": "small"}, "write 200kB"),
    "share": ({"test": 1.0}, "share from 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_wishes_say_what_was_expected(name: str, own: Path, tmp_path: Path) -> None:
    options, message = BAD[name]
    with pytest.raises(FitError, match=message):
        run.run(own, budget="5s", out=tmp_path / "out", **options)


def test_a_model_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(OWN.replace("nn.Linear(32, form.classes)", "nn.Linear(31, form.classes)"))
    with pytest.raises(FitError, match="cannot be trained"):
        run.run(file, budget="5s", out=tmp_path / "out")


def test_a_directory_of_another_fit_is_refused(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.run(own, budget="60s", out=out, until="data", **QUICK)
    with pytest.raises(LedgerError, match=r"another fit \(seed differ"):
        run.run(own, budget="60s", out=out, seed=1, **QUICK)


def test_two_fits_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state", {"a": 1})
    with pytest.raises(LedgerError, match="another fit goes on"):
        Ledger(tmp_path / "state", {"a": 1})
    ledger.close()
    Ledger(tmp_path / "state", {"a": 1}).close()


def test_decisions_are_made_once_and_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state", {"a": 1})
    assert ledger.decide("one.x", lambda: (1, 2)) == [1, 2]
    ledger.close()
    again = Ledger(tmp_path / "state", {"a": 1})
    assert again.decide("one.x", lambda: 7) == [1, 2]
    again.forget(["one"])
    assert again.decide("one.x", lambda: 7) == 7
    again.close()


def test_the_test_part_is_the_sources_own_or_whole_groups() -> None:
    digits = data("digits")
    groups = torch.arange(len(digits)) // 100
    from dataclasses import replace

    grouped = replace(digits, groups=groups)
    setup = Setup("digits", described.restore({"name": "nomagic.parts.nets:mlp"}), split="group")
    rest, test = apart(grouped, setup, 0.2, 0)
    assert test is not None
    assert rest.groups is not None
    assert test.groups is not None
    assert not set(rest.groups.tolist()) & set(test.groups.tolist())
    assert apart(digits, setup, 0.0, 0) == (digits, None)


# -- kill -9 ------------------------------------------------------------------------------------


def command(named: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "nomagic", "fit", named, "--budget", "40s", "--out", str(out)]


@pytest.mark.slow
@pytest.mark.parametrize("named", ["", "diabetes"], ids=["a network of one's own", "a table"])
def test_killed_at_ten_moments_the_same_model_comes_out(
    named: str, own: Path, tmp_path: Path
) -> None:
    named = named or str(own)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    subprocess.run(command(named, whole), check=True, env=env, capture_output=True)
    seconds = time.monotonic() - began
    (killed / "state").mkdir(parents=True)
    (killed / "state" / "plan.json").write_bytes((whole / "state" / "plan.json").read_bytes())
    chance, kills = random.Random(0), 0
    while kills < 10:
        process = subprocess.Popen(
            command(named, killed), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.05, 0.3) * seconds)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 3, "it was hardly ever killed"
    subprocess.run(command(named, killed), check=True, env=env, capture_output=True)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    grown = [(folder / "state" / "blend.safetensors").exists() for folder in (whole, killed)]
    assert grown == [named == "diabetes"] * 2


def test_with_little_time_a_network_is_taken_untried(tmp_path: Path) -> None:
    fit = run.run("digits", budget="1s", out=tmp_path / "out", until="overfit", **QUICK)
    found = stages(fit)["overfit"]
    assert found.numbers["rungs"] == []
    assert "no time to compare" in found.says[-1]
    assert "model" in found.change


def test_an_unknown_export_is_told_before_anything_is_trained(own: Path, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="'coreml' is not known; it is one of onnx, torch, int8"):
        run.run(own, budget="20s", out=tmp_path / "out", export=("coreml",))


@pytest.mark.slow
def test_a_fit_is_exported_and_kept_in_8_bits(own: Path, tmp_path: Path) -> None:
    out, skip = tmp_path / "out", ("regularise", "tune", "transfer", "growth", "shrink")
    fit = run.run(own, budget="20s", out=out, members=2, skip=skip, export=("onnx", "int8"))
    whole, small = fit.remarks[-2:]
    assert "model.onnx: equal on" in whole
    assert "model.int8.pt2" in small
    assert "of accuracy on" in small
    assert (out / "model.onnx").stat().st_size > 1_000
    assert (out / "model.int8.pt2").stat().st_size > 1_000


def test_the_last_stages_can_be_left_out(own: Path, tmp_path: Path) -> None:
    skip = ("regularise", "transfer", "tune", "shrink", "growth", "trust", "test")
    fit = run.run(own, budget="8s", out=tmp_path / "out", members=1, skip=skip)
    assert fit.ending == "finished"
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_stages_that_run_anew_forget_their_folders(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state", {})
    (ledger.file("shrink-a-student") / "inner").mkdir(parents=True)
    ledger.file("growth.json").write_text("{}")
    ledger.forget(["shrink"])
    assert not ledger.file("shrink-a-student").exists()
    assert ledger.file("growth.json").exists()
    ledger.close()
