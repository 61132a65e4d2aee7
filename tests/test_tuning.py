"""Fine-tuning trains the blocks it says, at the rates it says, and what pays is found in pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nomagic.datasets import as_data, data
from nomagic.described import changed
from nomagic.engine import plain, stacked
from nomagic.engine.plan import Plan
from nomagic.fitting import run, saved, tuning
from nomagic.fitting.case import Case, FitError, Wish
from nomagic.fitting.ledger import Ledger
from nomagic.fitting.stages import overfit, shrinking
from nomagic.fitting.tuning import ARMS, SCRATCH, Tuning
from nomagic.parts.presets import Rung, ladder
from nomagic.parts.presets.plain import Mlp
from nomagic.parts.trunk import TrunkError
from nomagic.words import BlockRates, Fit, Form, Setup, Stage

SGD = partial(torch.optim.SGD, lr=0.1)


def net(form: Form) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(form.features, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 12),
        nn.ReLU(),
        nn.Linear(12, form.classes),
    )


def halves() -> tuple[Plan, Plan]:
    """A source with the digits 0 to 4 and a target with few of 5 to 7."""
    digits = data("digits")
    assert isinstance(digits.x, Tensor)
    assert digits.y is not None
    many, few = digits.y < 5, ((digits.y > 4) & (digits.y < 8)).nonzero().flatten()[:120]
    setup = Setup(data=None, model=net, optimizer=SGD, epochs=6, batch_size=16)
    source = Plan(setup, as_data((digits.x[many], digits.y[many])))
    return source, Plan(setup, as_data((digits.x[few], digits.y[few] - 5)))


def given() -> dict[str, Tensor]:
    source, _ = halves()
    return plain.fit(source, source.members([0])[0]).model.state_dict()


WEIGHTS = given()
TARGET = halves()[1]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("weights") / "given.safetensors"
    save_file({name: value.contiguous() for name, value in WEIGHTS.items()}, where)
    return where


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    """Weights that know the target's own classes."""
    digits, y = data("digits").x, data("digits").y
    assert isinstance(digits, Tensor)
    assert y is not None
    rows = (y > 4) & (y < 8)
    setup = replace(TARGET.setup, epochs=12, optimizer=partial(torch.optim.AdamW, lr=0.01))
    plan = Plan(setup, as_data((digits[rows], y[rows] - 5)))
    state = plain.fit(plan, plan.members([0])[0]).model.state_dict()
    save_file(state, tmp_path / "learnt.safetensors")
    return tmp_path / "learnt.safetensors"


def arm(name: str) -> Tuning:
    return next(one for one in ARMS if one.name == name)


def tuned(how: Tuning, file: Path, **changes: Any) -> Plan:
    return Plan(how.told(replace(TARGET.setup, **changes), file), TARGET.data)


HEAD = {"6.weight", "6.bias"}
LAST = HEAD | {"4.weight", "4.bias"}


@pytest.mark.parametrize(
    ("how", "moved"),
    [
        (arm("head"), HEAD),
        (arm("last block"), LAST),
        (arm("head, then last block"), LAST),
        (
            replace(arm("all"), norms="keep"),
            LAST | {"1.weight", "1.bias", "2.weight", "2.bias"},
        ),
        (replace(arm("gradual"), norms="fixed"), LAST | {"1.weight", "1.bias"}),
    ],
)
def test_only_what_is_said_is_trained(how: Tuning, moved: set[str], file: Path):
    plan = tuned(how, file)
    member = plan.members([0])[0]
    before = {name: p.clone() for name, p in plan.model(member).state_dict().items()}
    after = plain.fit(plan, member).model.state_dict()
    assert {name for name in after if not torch.equal(before[name], after[name])} == moved


def test_blocks_are_opened_from_the_head_on(file: Path):
    plan = tuned(replace(arm("gradual"), norms="keep"), file)
    member = plan.members([0])[0]
    running = plain.Running(plan, member)
    open_blocks: list[set[int]] = []
    for epoch in range(6):
        groups = running.optimizer.param_groups
        open_blocks.append({group["block"] for group in groups if group["lr"]})
        running.epoch(plan.batches(member, epoch))
    assert open_blocks == [{0}, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}]


def test_an_arm_says_all_of_the_rates(file: Path):
    setup = replace(TARGET.setup, block_rates=BlockRates(trunk=0.3))
    assert arm("all").told(setup, file).block_rates is None
    back = tuning.changed(Plan(setup, TARGET.data), file, arm("all"))
    assert back["block_rates"] is None


@pytest.mark.parametrize("name", ["head", "discriminative", "gradual"])
def test_it_is_trained_stacked_as_well(name: str, file: Path):
    plan = tuned(replace(arm(name), norms="keep"), file, precision="float64")
    alone, together = plain.train(plan, [0, 1]), stacked.train(plan, [0, 1])
    for one, other in zip(alone, together, strict=True):
        assert one.scores["loss"] == pytest.approx(other.scores["loss"], abs=1e-9)


@pytest.mark.parametrize(
    ("samples", "batch", "name", "kept"),
    [
        (900, 64, "head, then last block", "keep"),
        (4_000, 64, "last block", "keep"),
        (20_000, 64, "last block", "move"),
        (50_000, 64, "discriminative", "move"),
        (50_000, 8, "discriminative", "keep"),
    ],
)
def test_the_rule_goes_by_the_number_of_samples(samples: int, batch: int, name: str, kept: str):
    found = tuning.promising(samples, batch)
    assert (found[0].name, found[0].norms) == (name, kept)
    assert {one.name for one in found} == {one.name for one in ARMS}
    assert {replace(one, norms="move") for one in found} == set(ARMS)


def test_what_pays_is_found_in_pairs_and_written_into_the_setup(file: Path):
    arms = (arm("head"), arm("gradual"))
    done: list[tuple[str, int]] = []
    stage = tuning.compare(TARGET, file, range(7), arms, lambda *told: done.append(told))
    assert done == [(SCRATCH, 7), ("head", 7), ("gradual", 7)]
    assert set(stage.numbers["judged"]) == {"head", "gradual"}
    alone = plain.train(TARGET, range(7))
    assert stage.numbers["scores"]["scratch"] == [one.scores["accuracy"] for one in alone]
    assert "the head is made afresh" in stage.says[0]
    assert [series.x for series in stage.pictures[0].series] == [("head", "gradual")]
    taken = stage.numbers["taken"]
    assert bool(stage.change) == bool(taken)
    both = json.loads(json.dumps(tuning.changed(TARGET, file, arms[1])))
    setup = changed(TARGET.setup, both)
    assert setup == arms[1].told(TARGET.setup, file)
    plan = Plan(setup, TARGET.data)
    model = plan.model(TARGET.members([0])[0])
    assert torch.equal(model.get_submodule("1").weight, WEIGHTS["1.weight"])
    again = [one.scores["accuracy"] for one in plain.train(plan, range(7))]
    assert again == stage.numbers["scores"]["gradual"]


def test_weights_that_do_not_fit_are_told(tmp_path: Path):
    strange = tmp_path / "strange.safetensors"
    save_file({"other": torch.zeros(3)}, strange)
    with pytest.raises(TrunkError, match="no tensor of the trunk"):
        tuning.compare(TARGET, strange, range(7))


def test_judgements_are_told_in_the_unit_of_the_metric():
    from nomagic.trial.statistics import Pairs, judge

    steady = judge({"a": Pairs([0.5] * 8, [0.56, 0.57, 0.55, 0.56, 0.58, 0.54, 0.56, 0.57])}, (8,))
    assert tuning.told(steady["a"], points=True).startswith("brings +6.1 pt (5.")
    assert tuning.best(steady) == "a"
    few = judge({"a": Pairs([0.5] * 3, [0.6] * 3)}, (3,))
    assert tuning.told(few["a"], points=False) == "is open, +0.1, with 3 pairs"
    assert tuning.best(few) == ""
    assert tuning.numbers(few["a"])["low"] is None


# -- as a stage -----------------------------------------------------------------------------------

OWN = """
from dataclasses import replace
from functools import partial

import torch
from torch import nn

import nomagic as nm

digits = nm.data("digits")
rows = ((digits.y > 4) & (digits.y < 8)).nonzero().flatten()[:200]
few = (digits.x[rows], digits.y[rows] - 5)


def net(form):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, 16), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, form.classes),
    )


setup = nm.Setup(
    data=few, model=net, optimizer=partial(torch.optim.SGD, lr=0.02), epochs=2, batch_size=16
)
"""
ASKED = """
import sys

import torch

import nomagic as nm

torch.manual_seed(1)
x = torch.rand(20, 8, 8)
torch.save(torch.tensor(nm.load(sys.argv[1], sys.argv[2]).predict(x).mean), sys.argv[3])
"""
SKIP = ("regularise", "tune", "growth", "shrink")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN)
    return mine


def decided(out: Path, name: str, value: Any) -> None:
    """Write a decision down before it is made, so that it does not hang on the clock."""
    place = out / "state" / "plan.json"
    kept = json.loads(place.read_text())
    kept["decided"][name] = value
    place.write_text(json.dumps(kept))


def fitted(own: Path, file: Path, arms: int, **more: Any) -> tuple[Fit, Stage]:
    """A fit from weights with so many ways compared."""
    out = own.parent / "out"
    asked: dict[str, Any] = {"budget": "60s", "out": out, "members": 2, "weights": file}
    run.run(own, **asked, skip=SKIP, until="overfit")
    decided(out, "transfer.arms", arms)
    fit = run.run(own, **asked, skip=SKIP, **more)
    return fit, next(stage for stage in fit.stages if stage.name == "transfer")


def test_without_time_to_compare_the_rule_is_followed_whole(own: Path, file: Path):
    _, stage = fitted(own, file, 0, until="transfer")
    rule = replace(arm("head, then last block"), norms="keep")
    assert stage.says[-1].startswith(f"Trained by the rule for so many samples: {rule.name};")
    setup = changed(TARGET.setup, stage.change)
    assert setup == rule.told(TARGET.setup, file)
    assert setup.block_rates == BlockRates(opening=0.5)


def test_as_many_ways_are_compared_as_there_is_time_for(own: Path, file: Path):
    _, stage = fitted(own, file, 2, until="transfer")
    first = [one.name for one in tuning.promising(100, 16)[:2]]
    assert list(stage.numbers["judged"]) == first
    assert list(stage.numbers["scores"]) == [SCRATCH, *first]


def test_weights_of_another_network_end_the_fit_in_words(own: Path, tmp_path: Path):
    strange = tmp_path / "strange.safetensors"
    save_file({"other": torch.zeros(3)}, strange)
    with pytest.raises(FitError, match="cannot be fine-tuned: no tensor of the trunk"):
        run.run(own, budget="60s", out=tmp_path / "out", weights=strange, skip=SKIP)


def linear(form: Form) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(form.features, form.classes))


def test_another_network_that_learns_from_it_has_one_rate(file: Path, tmp_path: Path):
    plan = tuned(arm("gradual"), file, epochs=1)
    base, ledger = TARGET.setup, Ledger(tmp_path / "state", {})
    case = Case(base, plan.setup, plan.data, None, ledger, Wish())
    student = shrinking._plan(case, Rung("linear", linear))
    assert (student.setup.edits, student.setup.block_rates) == ((), None)
    assert not plain.train(student, [0])[0].failed
    alike = shrinking._plan(case, Rung("alike", plan.setup.model))
    assert alike.setup.block_rates == plan.setup.block_rates
    ledger.close()


def test_networks_of_the_ladder_have_one_rate(tmp_path: Path):
    """A linear one has no trunk that could be trained more slowly than its head."""
    setup = replace(TARGET.setup, model=Mlp(16, 2), block_rates=BlockRates(trunk=0.1))
    ledger = Ledger(tmp_path / "state", {})
    case = Case(setup, setup, TARGET.data, None, ledger, Wish())
    for rung in ladder(TARGET.form):
        assert overfit.setup_of(case, rung).block_rates is None
    own = overfit.setup_of(case, Rung("your network", net))
    assert own.block_rates == setup.block_rates
    ledger.close()


@pytest.mark.slow
def test_a_fine_tuned_model_is_saved_and_predicts_the_same_elsewhere(
    own: Path, learnt: Path, tmp_path: Path
):
    out = tmp_path / "out"
    _, stage = fitted(own, learnt, 2, until="transfer")
    taken = stage.numbers["taken"]
    assert taken is not None
    assert taken["rates"]["opening"] > 0
    command = [
        *(sys.executable, "-m", "nomagic", "fit", str(own), "--budget", "60s", "--out", str(out)),
        *("--members", "2", "--weights", str(learnt), "--skip", ",".join(SKIP)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    learnt.unlink()
    model = saved.load(out, own)
    assert model.setup.block_rates == BlockRates(**taken["rates"])
    assert [edit.name for edit in model.setup.edits] == [f"fine-tune-{taken['name']}"]
    assert "learning rates by block" in (out / "README.md").read_text()
    answers = tmp_path / "answers.pt"
    asked = [sys.executable, "-c", ASKED, str(out), str(own), str(answers)]
    subprocess.run(asked, check=True, capture_output=True)
    torch.manual_seed(1)
    x = torch.rand(20, 8, 8)
    assert torch.equal(torch.load(answers), torch.tensor(model.predict(x).mean))
