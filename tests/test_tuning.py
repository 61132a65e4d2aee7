"""Fine-tuning trains the blocks it says, at the rates it says, under every trainer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nomagic.datasets import as_data, data
from nomagic.described import changed
from nomagic.engine import lasting, plain, stacked
from nomagic.engine.plan import Plan
from nomagic.fitting import tuning
from nomagic.fitting.tuning import ARMS, SCRATCH, Opening, TunedPlan, Tuning
from nomagic.parts import trunk
from nomagic.words import Form, Setup

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


def arm(name: str) -> Tuning:
    return next(one for one in ARMS if one.name == name)


def trained(how: Tuning) -> tuple[set[str], dict[str, Tensor]]:
    """The parameters that a training changed, and the state after it."""
    plan = TunedPlan(TARGET, how, WEIGHTS)
    member = plan.members([0])[0]
    before = {name: p.clone() for name, p in plan.model(member).state_dict().items()}
    after = plain.fit(plan, member).model.state_dict()
    return {name for name in after if not torch.equal(before[name], after[name])}, after


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
        (replace(arm("all"), norms="fixed"), LAST | {"1.weight", "1.bias"}),
    ],
)
def test_only_what_is_said_is_trained(how: Tuning, moved: set[str]):
    assert trained(how)[0] == moved


def test_without_weights_all_is_as_in_a_plain_training():
    plan = TunedPlan(TARGET, SCRATCH, WEIGHTS)
    ours = plain.fit(plan, plan.members([0])[0]).model.state_dict()
    theirs = plain.fit(TARGET, TARGET.members([0])[0]).model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_rates_fall_towards_the_input():
    how = Tuning("rates", trunk=0.5, factor=0.1)
    plan = TunedPlan(TARGET, how, WEIGHTS)
    run = plain.Running(plan, plan.members([0])[0])
    rates = {group["block"]: group["lr"] for group in run.optimizer.param_groups}
    assert rates == pytest.approx({0: 0.1, 1: 0.05, 2: 0.005})
    assert sum(len(group["params"]) for group in run.optimizer.param_groups) == 8


def test_weights_that_are_not_decayed_stay_so():
    plan = TunedPlan(TARGET, arm("discriminative"), WEIGHTS)
    model = plan.model(plan.members([0])[0])
    named = dict(model.named_parameters())
    optimizer = plan.optimizer(named, frozenset({"1.bias"}))
    decays = {
        name: group.get("weight_decay")
        for group in optimizer.param_groups
        for name, p in named.items()
        if any(p is one for one in group["params"])
    }
    assert set(decays) == set(named)
    assert decays["1.bias"] == 0


def test_blocks_are_opened_from_the_head_on():
    plan = TunedPlan(TARGET, Tuning("gradual", opening=0.5), WEIGHTS)
    member = plan.members([0])[0]
    run = plain.Running(plan, member)
    open_blocks: list[set[int]] = []
    for epoch in range(6):
        groups = run.optimizer.param_groups
        open_blocks.append({group["block"] for group in groups if group["lr"]})
        run.epoch(plan.batches(member, epoch))
    assert open_blocks == [{0}, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}]


def test_opening_leaves_the_rates_of_the_other_schedule_as_they_are():
    def train(opens: list[int] | None) -> list[list[float]]:
        p, q = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        optimizer = torch.optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.5}], lr=1.0)
        inner = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1.0, 0.5], total_steps=8)
        schedule = Opening(optimizer, inner, opens) if opens else inner
        rates: list[list[float]] = []
        for _ in range(7):
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            schedule.step()
        return rates

    plainly, opened = train(None), train([0, 3])
    assert [rates[0] for rates in opened] == pytest.approx([rates[0] for rates in plainly])
    assert [rates[1] for rates in opened[:3]] == [0, 0, 0]
    assert [rates[1] for rates in opened[3:]] == pytest.approx([rates[1] for rates in plainly[3:]])


@pytest.mark.parametrize("name", ["head", "discriminative", "gradual"])
def test_it_is_trained_stacked_as_well(name: str):
    setup = replace(TARGET.setup, precision="float64")
    plan = TunedPlan(
        Plan(setup, TARGET.data),
        replace(arm(name), norms="keep"),
        WEIGHTS,
    )
    alone, together = plain.train(plan, [0, 1]), stacked.train(plan, [0, 1])
    for one, other in zip(alone, together, strict=True):
        assert one.scores["loss"] == pytest.approx(other.scores["loss"], abs=1e-9)


def test_a_killed_fine_tuning_goes_on_where_it_was(tmp_path: Path):
    plan = TunedPlan(TARGET, replace(arm("gradual"), norms="keep"), WEIGHTS)

    def stop(epochs: int, _: object) -> None:
        if epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lasting.train(plan, 0, tmp_path / "killed", together=False, tell=stop)
    resumed = lasting.train(plan, 0, tmp_path / "killed", together=False).networks[0]
    whole = lasting.train(plan, 0, tmp_path / "whole", together=False).networks[0]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


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
    found = tuning.rule(samples, batch)
    assert (found.name, found.norms) == (name, kept)


def test_what_pays_is_found_in_pairs_and_written_into_the_setup(tmp_path: Path):
    file = tmp_path / "given.safetensors"
    save_file({name: value.contiguous() for name, value in WEIGHTS.items()}, file)
    arms = (arm("head"), arm("all"))
    stage = tuning.compare(TARGET, trunk.read(file), range(7), arms, str(file))
    assert set(stage.numbers["judged"]) == {"head", "all"}
    assert len(stage.numbers["scores"]["scratch"]) == 7
    assert "the head is made afresh" in stage.says[0]
    assert [series.x for series in stage.pictures[0].series] == [("head", "all")]
    taken = stage.numbers["taken"]
    assert bool(stage.change) == bool(taken)
    both = tuning.changed(TARGET, str(file), arms[0])
    setup = changed(TARGET.setup, both)
    model = Plan(setup, TARGET.data).model(TARGET.members([0])[0])
    assert torch.equal(model.get_submodule("1").weight, WEIGHTS["1.weight"])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == HEAD


def test_judgements_are_told_in_the_unit_of_the_metric():
    from nomagic.trial.statistics import Pairs, judge

    steady = judge({"a": Pairs([0.5] * 8, [0.56, 0.57, 0.55, 0.56, 0.58, 0.54, 0.56, 0.57])}, (8,))
    assert tuning.told(steady["a"], points=True).startswith("brings +6.1 pt (5.")
    assert tuning.best(steady) == "a"
    few = judge({"a": Pairs([0.5] * 3, [0.6] * 3)}, (3,))
    assert tuning.told(few["a"], points=False) == "is open, +0.1, with 3 pairs"
    assert tuning.best(few) == ""
    assert tuning.numbers(few["a"])["low"] is None
