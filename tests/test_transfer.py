"""Pre-training is held against training from scratch at equal compute, by the number of labels."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from nomagic.described import changed
from nomagic.engine import plain
from nomagic.engine.plan import Plan
from nomagic.fitting import pretrain, transfer
from nomagic.fitting.transfer import Labelled, Proposal
from nomagic.parts import nets, trunk
from nomagic.setups import resolve
from nomagic.trial.statistics import first_look
from nomagic.words import Form

SETUP = replace(resolve("wine"), model=partial(nets.mlp, width=8), epochs=2, name="")
WINE = Plan(SETUP)
SEEDS = (0, 1, 2, 3, 4, 5, 6)
PROPOSAL = Proposal(SEEDS, (12, 134), ("masked",), (2,), 600.0)


def classes(plan: Plan, count: int) -> list[int]:
    part = Labelled(plan, count, 1).part(0)
    return torch.bincount(plan.fetch(part.train)[1], minlength=3).tolist()


def test_few_labels_have_some_of_each_class_and_grow():
    assert classes(WINE, 9) == [3, 3, 3]
    parts = [Labelled(WINE, count, 1).part(3) for count in (9, 20, 134)]
    rows = [part.train.tolist() for part in parts]
    assert rows[1][:9] == rows[0]
    assert rows[2][:20] == rows[1]
    assert set(rows[2]) == set(WINE.part(3).train.tolist())
    assert all(torch.equal(part.held, WINE.part(3).held) for part in parts)
    assert Labelled(WINE, 9, 1).part(4).train.tolist() != rows[0]


def test_numbers_of_labels_are_few_and_apart():
    assert transfer.counts(WINE) == (13, 40, 134)
    assert transfer.counts(Plan(resolve("digits"))) == (40, 135, 404, 1348)
    assert transfer.counts(WINE, (0.001, 1.0)) == (10, 134)


def test_steps_on_labels_are_those_of_all_labels_and_the_control_pays_for_the_rest():
    plan = Plan(replace(SETUP, epochs=10, batch_size=16))
    assert transfer.length(plan, 134) == 10
    assert transfer.length(plan, 13) == 90
    assert transfer.length(plan, 13, passes=1_300) == 190


def test_arms_start_with_the_same_head_and_their_own_trunk():
    member = WINE.members([2])[0]
    learnt = pretrain.pretrain(WINE, member, "denoising", 1)
    short = Labelled(WINE, 12, 1)
    given = Labelled(WINE, 12, 1, {2: learnt.state})
    scratch, started = short.model(member).state_dict(), given.model(member).state_dict()
    head = {"5.weight", "5.bias"}
    assert scratch.keys() - learnt.state.keys() == head
    for name, value in started.items():
        assert torch.equal(value, scratch[name] if name in head else learnt.state[name])
    other = WINE.members([1])[0]
    assert torch.equal(given.model(other).state_dict()["1.bias"], short.model(other)[1].bias)


STAGE = transfer.compare(WINE, PROPOSAL)


def test_it_is_said_by_the_number_of_labels():
    assert STAGE.says[0].startswith("masked pre-training: with 12 labels (9 %) it ")
    assert "; with all 134 labels it " in STAGE.says[0]
    assert "on 7 seeds" in STAGE.says[2]
    assert STAGE.says[3].startswith("At your 134 labels ")
    assert json.loads(json.dumps(STAGE.numbers)) == STAGE.numbers
    (picture,) = STAGE.pictures
    assert [series.name for series in picture.series] == ["from scratch", "masked"]
    assert picture.series[1].x == (12.0, 134.0)
    assert picture.log == "x"
    low, y, high = (getattr(picture.series[1], name) for name in ("low", "y", "high"))
    assert all(a <= b <= c for a, b, c in zip(low, y, high, strict=True))


def test_the_controls_are_ordinary_trainings_with_fewer_labels():
    scores = STAGE.numbers["scores"]
    part = Labelled(WINE, 12, transfer.length(WINE, 12))
    by_hand = [one.scores["accuracy"] for one in plain.train(part, SEEDS)]
    assert scores["scratch"]["12"] == by_hand
    longer = Labelled(WINE, 134, transfer.length(WINE, 134, 600.0))
    assert scores["scratch, longer"]["134"] == [
        one.scores["accuracy"] for one in plain.train(longer, SEEDS)
    ]
    means = {arm: sum(scores[arm]["12"]) for arm in transfer.CONTROLS}
    assert means[STAGE.numbers["baseline"]["12"]] == max(means.values())


def test_a_proposal_read_back_gives_the_same():
    again = transfer.compare(WINE, Proposal.of(json.loads(json.dumps(PROPOSAL.plain()))))
    assert again.says == STAGE.says
    assert again.numbers == STAGE.numbers
    with pytest.raises(ValueError, match="no proposal"):
        Proposal.of({"seed": 3})
    with pytest.raises(ValueError, match="a length each"):
        Proposal.of(PROPOSAL.plain() | {"lengths": []})


def test_what_is_proposed_fits_the_time_and_can_be_decided():
    small = transfer.propose(WINE, 30.0)
    assert small.kinds[0] == "masked"
    assert 0 < small.seconds <= 30
    assert small.labels[-1] == 134
    assert first_look(len(small.kinds) * len(small.labels), (len(small.seeds),))
    costs = [
        epochs * 134 * pretrain.Work(WINE, WINE.members([0])[0], kind).cost
        for kind, epochs in zip(small.kinds, small.lengths, strict=True)
    ]
    assert costs == pytest.approx([small.passes] * len(costs), rel=0.05)


def test_it_is_offered_where_labels_are_few_or_inputs_many():
    digits = Plan(replace(resolve("digits"), held_out=0.1))
    assert transfer.offered(digits)
    assert digits.data.y is not None
    many = Plan(digits.setup, digits.data.subset(torch.arange(1_797).repeat(2)))
    assert not transfer.offered(many)
    assert transfer.offered(many, pool=torch.rand(3, 1, 8, 8))


def test_without_time_or_sense_it_is_skipped_with_the_reason():
    hurried = transfer.propose(WINE, 1e-3)
    assert not hurried.kinds
    stage = transfer.compare(WINE, hurried)
    assert "even the smallest comparison takes about" in stage.skipped
    bare = Plan(replace(SETUP, model=nets.linear))
    assert "only layer" in transfer.compare(bare, transfer.propose(bare, 60)).skipped


def test_a_lower_metric_is_better_when_it_falls():
    plan = Plan(replace(SETUP, metric="loss"))
    stage = transfer.compare(plan, replace(PROPOSAL, labels=(134,)))
    scores = stage.numbers["scores"]
    assert all(value < 0 for value in scores["masked"]["134"])
    assert all(value > 0 for series in stage.pictures[0].series for value in series.y)


def test_a_failed_pre_training_is_a_failed_pair(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrain, "RATE", 1e30)
    stage = transfer.compare(WINE, replace(PROPOSAL, lengths=(30,), labels=(134,)))
    (judged,) = stage.numbers["judged"]
    assert stage.numbers["scores"]["masked"]["134"] == [None] * 7
    assert judged["failures"] == [0, 7]
    assert judged["decision"] == "HURTS"


def stuck(form: Form) -> nn.Module:
    """A network whose weights are so small that plain gradient descent hardly moves it."""
    model = nets.mlp(form, width=64, depth=2)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.startswith("5."):
                p.mul_(1e-3)
    return model


@pytest.mark.slow
def test_a_gain_that_is_there_is_found_and_starts_the_setup(tmp_path: Path):
    sgd = partial(torch.optim.SGD, lr=0.01)
    plan = Plan(replace(SETUP, model=stuck, optimizer=sgd, epochs=20))
    proposal = Proposal(SEEDS, (134,), ("denoising",), (60,), 60 * 134.0)
    file = tmp_path / "trunk.safetensors"
    stage = transfer.compare(plan, proposal, file=file)
    assert stage.numbers["taken"] == "denoising"
    assert "denoising pre-training is worth it" in stage.says[-1]
    setup = changed(plan.setup, stage.change)
    started = Plan(setup).model(plan.members([0])[0]).state_dict()
    assert torch.equal(started["1.weight"], trunk.read(file)["1.weight"])


def test_a_trunk_that_is_kept_is_loaded_by_an_edit(tmp_path: Path):
    member = WINE.members([0])[0]
    learnt = pretrain.pretrain(WINE, member, "masked", 1)
    change = transfer.kept(WINE, learnt, tmp_path / "trunk.safetensors")
    setup = changed(SETUP, change)
    started = Plan(setup).model(member).state_dict()
    assert all(torch.equal(started[name], value) for name, value in learnt.state.items())
    assert trunk.read(tmp_path / "trunk.safetensors").keys() == learnt.state.keys()
