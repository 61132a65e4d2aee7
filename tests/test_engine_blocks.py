"""Rates by block: every trainer, schedule and file follows what a setup says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic import catalog, described
from nomagic.datasets import data
from nomagic.engine import choose, lasting, plain, stacked
from nomagic.engine.blocks import Blockwise
from nomagic.engine.lasting import CheckpointError
from nomagic.engine.plan import Plan, SetupError
from nomagic.parts.trunk import Freeze
from nomagic.trial.recipe import combine
from nomagic.trial.runs import data_name, setup_name
from nomagic.words import BlockRates, Edit, Form, Setup

RATES = BlockRates(trunk=0.5, factor=0.1)
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


def few() -> Any:
    digits = data("digits")
    assert isinstance(digits.x, Tensor)
    assert digits.y is not None
    return replace(digits, x=digits.x[:160], y=digits.y[:160])


DATA = few()


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {
        "model": net,
        "optimizer": SGD,
        "epochs": 6,
        "batch_size": 30,
        "block_rates": RATES,
    }
    return Plan(Setup(data=DATA, **(given | changes)))


def running(one: Plan) -> plain.Running:
    return plain.Running(one, one.members([0])[0])


def rates(run: plain.Running) -> dict[str, float]:
    """The learning rate of each parameter by name."""
    names = {id(p): name for name, p in run.parameters.items()}
    return {names[id(p)]: g["lr"] for g in run.optimizer.param_groups for p in g["params"]}


def cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)


def decay(optimizer: torch.optim.Optimizer, _: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


HEAD = {"6.weight": 0.1, "6.bias": 0.1}
LAST = {"4.weight": 0.05, "4.bias": 0.05}
FIRST = {"1.weight": 0.005, "1.bias": 0.005, "2.weight": 0.005, "2.bias": 0.005}


def test_rates_fall_towards_the_input() -> None:
    assert rates(running(plan())) == pytest.approx(HEAD | LAST | FIRST)


def test_without_them_the_optimizer_is_as_it_was() -> None:
    one = plan(block_rates=None, schedule=cycle)
    run = running(one)
    (group,) = run.optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in run.model.parameters()]
    assert "block" not in group
    assert type(run.scheduler) is torch.optim.lr_scheduler.OneCycleLR


def test_one_rate_for_all_blocks_trains_as_without_them() -> None:
    ours = plain.train(plan(block_rates=BlockRates(), schedule=cycle), [1])[0]
    theirs = plain.train(plan(block_rates=None, schedule=cycle), [1])[0]
    assert ours.scores == theirs.scores
    assert ours.curve == theirs.curve


def test_what_is_not_decayed_stays_so_and_the_setups_rate_counts() -> None:
    one = plan(optimizer=partial(torch.optim.AdamW, lr=0.1), rate=0.5, decay=0.3)
    named = dict(one.model(one.members([0])[0]).named_parameters())
    optimizer = one.optimizer(named, frozenset({"1.bias"}))
    found = {
        name: (group["block"], group["lr"], group["weight_decay"], group["fused"])
        for group in optimizer.param_groups
        for name, p in named.items()
        if any(p is mine for mine in group["params"])
    }
    assert set(found) == set(named)
    assert found["1.bias"] == (2, 0.05, 0.0, True)
    assert found["1.weight"] == (2, 0.05, 0.3, True)
    assert found["6.weight"] == (0, 0.05, 0.3, True)


@pytest.mark.parametrize("schedule", [cycle, decay, None])
def test_each_block_has_its_share_of_any_schedule_once_it_is_open(schedule: Any) -> None:
    def told(block_rates: BlockRates | None) -> list[dict[str, float]]:
        one, found = plan(block_rates=block_rates, schedule=schedule, epochs=4), []
        run = running(one)
        for epoch in range(4):
            for rows in one.batches(one.members([0])[0], epoch):
                found.append(rates(run))
                run.step(rows)
        return found

    whole, ours = told(None), told(BlockRates(trunk=0.5, factor=0.1, opening=0.5))
    for step, (all_, each) in enumerate(zip(whole, ours, strict=True)):
        assert each["6.weight"] == all_["6.weight"]
        assert each["4.weight"] == pytest.approx(0.5 * all_["4.weight"] if step >= 4 else 0)
        assert each["2.bias"] == pytest.approx(0.05 * all_["2.bias"] if step >= 8 else 0)


def test_only_blocks_that_are_trained_are_opened() -> None:
    freeze = (Edit("freeze", Freeze(2)),)
    one = plan(edits=freeze, block_rates=BlockRates(opening=0.5))
    run, opened = running(one), []
    for epoch in range(6):
        opened.append({name for name, rate in rates(run).items() if rate})
        run.epoch(one.batches(one.members([0])[0], epoch))
    assert opened == [set(HEAD)] * 3 + [set(HEAD | LAST)] * 3


@pytest.mark.parametrize("norms", ["move", "keep", "fixed"])
@pytest.mark.parametrize("depth", [0, 2])
def test_kept_norms_stay_in_their_block(norms: Any, depth: int) -> None:
    frozen = plan(edits=(Edit("freeze", Freeze(depth, norms)),))
    assert frozen.places == plan().places


def bare(form: Form) -> nn.Module:
    return nn.Sequential(*(m for m in net(form) if not isinstance(m, nn.BatchNorm1d)))


def test_tricks_that_add_layers_have_their_parameters_in_the_block_before() -> None:
    practices = {one.name: one for one in catalog.load()}
    one = plan(model=bare)
    steps = {"batch-norm": "batch-norm", "prelu": "prelu-0.25"}
    setup, refused = combine(one, {arm: (practices[n], arm) for n, arm in steps.items()}, 0)
    assert not refused
    tricked = Plan(setup, one.data)
    added = [type(m).__name__ for m in tricked.model(tricked.members([0])[0]).modules()]
    assert added.count("BatchNorm1d") == 2
    assert added.count("PReLU") == 2
    assert sorted(set(tricked.places.values())) == [0, 1, 2]
    run = running(tricked)
    assert rates(run).keys() == run.parameters.keys() == tricked.places.keys()
    assert sum(place == 0 for place in tricked.places.values()) == 2
    (outcome,) = plain.train(tricked, [1])
    assert not outcome.failed


@pytest.mark.parametrize("opening", [0.0, 0.5])
def test_stacked_members_equal_each_alone(opening: float) -> None:
    one = plan(
        precision="float64",
        schedule=cycle,
        block_rates=replace(RATES, opening=opening),
        members=2,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    )
    alone, together = plain.train(one, [0, 1]), stacked.train(one, [0, 1])
    for a, b in zip(alone, together, strict=True):
        assert b.curve == pytest.approx(a.curve, rel=1e-9)
        assert b.scores == pytest.approx(a.scores, rel=1e-8)


def test_processes_return_the_same() -> None:
    one = plan(block_rates=replace(RATES, opening=0.5))
    ours = [o.scores for o in choose.train(one, [0, 1], "processes")]
    assert ours == [o.scores for o in plain.train(one, [0, 1])]


class Attention(nn.Module):
    """A block that is half the trunk while attention is one call of a function, and else more."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.before = nn.Linear(8, 8)
        self.block = Attending()
        self.after, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.block(self.before(x.reshape(len(x), 8, 8)))
        return self.head(self.last(self.after(h)).mean(1))


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.query(x), x, self.value(x))


def test_blocks_are_the_same_where_attention_is_written_out() -> None:
    settings: dict[str, Any] = {"model": Attention, "edits": (Edit("freeze", Freeze(4)),)}
    alone, mapped = plan(**settings), plan(**settings)
    fresh = [alone.model(alone.members([0])[0])]
    with stacked.mapped():
        places = mapped.places
        fresh.append(mapped.model(mapped.members([0])[0]))
    assert places == alone.places
    assert places["block.query.weight"] == places["block.value.weight"] == 3
    trained = [{n for n, p in model.named_parameters() if p.requires_grad} for model in fresh]
    assert trained[0] == trained[1]


# -- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True])
def test_killed_and_resumed_is_the_same_to_the_bit(together: bool, tmp_path: Path) -> None:
    make = partial(
        plan,
        members=2,
        schedule=cycle,
        optimizer=partial(torch.optim.AdamW, lr=0.01),
        block_rates=replace(RATES, opening=0.5),
    )

    def killed(epoch: int) -> lasting.Tell:
        def tell(done: int, _: Any) -> None:
            if done == epoch:
                raise KeyboardInterrupt

        return tell

    whole = lasting.train(make(), 7, tmp_path / "whole.st", together=together)
    for epoch in (1, 2, 4):
        with pytest.raises(KeyboardInterrupt):
            lasting.train(make(), 7, tmp_path / "one.st", together=together, tell=killed(epoch))
    again = lasting.train(make(), 7, tmp_path / "one.st", together=together)
    assert again.curves == whole.curves
    for ours, theirs in zip(again.networks, whole.networks, strict=True):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value)


def test_a_checkpoint_with_other_rates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "one.st"
    lasting.train(plan(), 7, file, together=False)
    assert lasting.train(plan(), 7, file, together=False).networks
    for other in (plan(block_rates=None), plan(block_rates=BlockRates(0.4, 0.1))):
        with pytest.raises(CheckpointError, match="another training"):
            lasting.train(other, 7, file, together=False)


def test_a_setup_with_them_is_written_down_and_made_again() -> None:
    base = plan(block_rates=None).setup
    setup = replace(base, block_rates=BlockRates(0.8, 0.9, 0.25))
    written = json.loads(json.dumps(described.changes(setup, base)))
    assert list(written) == ["block_rates"]
    again = described.changed(base, written)
    assert again == setup
    back = json.loads(json.dumps(described.changes(base, setup)))
    assert described.changed(setup, back) == base
    written["block_rates"]["named"]["opening"] = 2
    with pytest.raises(ValueError, match="opening is 2"):
        described.changed(base, written)


def test_runs_with_other_rates_have_other_names() -> None:
    plans = [plan(block_rates=r) for r in (None, RATES, replace(RATES, opening=0.5), RATES)]
    names = [setup_name(one.setup, data_name(one)) for one in plans]
    assert names[1] == names[3]
    assert len(set(names)) == 3


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trunk": 0.0}, r"trunk is 0\.0; it is a factor .* above 0"),
        ({"factor": float("nan")}, "factor is nan"),
        ({"factor": float("inf")}, "factor is inf"),
        ({"opening": 1.0}, r"opening is 1\.0; it is a share"),
        ({"opening": -0.1}, "opening is -0.1"),
    ],
)
def test_rates_that_make_no_sense_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BlockRates(**given)


def linear(form: Form) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(form.features, form.classes))


def test_a_network_without_a_trunk_is_refused_only_with_rates_by_block() -> None:
    with pytest.raises(SetupError, match=r"block_rates .* is the only layer"):
        plain.train(plan(model=linear), [0])
    assert not plain.train(plan(model=linear, block_rates=None), [0])[0].failed


def test_a_network_of_other_names_each_time_is_refused() -> None:
    one = plan()
    strange = {"other": nn.Parameter(torch.zeros(2))}
    with pytest.raises(SetupError, match="other is in no block"):
        one.optimizer(strange, frozenset())


def test_an_optimizer_whose_rate_is_a_tensor_is_followed() -> None:
    one = plan(optimizer=partial(torch.optim.SGD, lr=torch.tensor(0.1)), schedule=decay)
    run = running(one)
    assert isinstance(run.scheduler, Blockwise)
    assert rates(run) == pytest.approx(HEAD | LAST | FIRST)
    run.epoch(one.batches(one.members([0])[0], 0)[:1])
    assert rates(run)["2.bias"] == pytest.approx(0.005 * 0.9)
