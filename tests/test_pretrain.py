"""Pre-training learns something from inputs alone, on inputs and networks of every kind."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.datasets import as_data, data
from nomagic.engine.plan import Plan
from nomagic.fitting import pretrain
from nomagic.fitting.pretrain import Inputs, Work
from nomagic.parts import nets, pretext, trunk
from nomagic.parts.pretext import KINDS, Kind, Layer, PretextError, Restoring, Spoiling, Swap
from nomagic.setups import resolve
from nomagic.words import Form, Setup

DIGITS = replace(resolve("digits"), model=nets.mlp)


class Reader(nn.Module):
    """A recurrent network that classifies tokens."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.token = nn.Embedding(form.tokens, 12)
        self.read = nn.GRU(12, 16, batch_first=True)
        self.out = nn.Linear(16, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.read(self.token(x))[0][:, -1])


class Normed(nn.Module):
    """Convolutions with a norm, padded in words, the head a 1 x 1 convolution."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 6, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 8, 3, stride=2)
        self.out = nn.Conv2d(8, form.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.one(x)))
        return self.out(F.relu(self.two(x))).mean((2, 3))


def waves() -> tuple[Tensor, Tensor]:
    """Tones of two pitches in noise."""
    y = torch.arange(80) % 2
    time = torch.linspace(0, 1, 1_024)
    tone = torch.sin(2 * math.pi * (20 + 40 * y)[:, None] * time)
    return (tone + 0.3 * torch.randn(80, 1_024)).unsqueeze(1), y


def words() -> tuple[Tensor, Tensor]:
    """Tokens that count up or down."""
    y = torch.arange(96) % 2
    start = torch.randint(8, (96, 1))
    return (start + (2 * y[:, None] - 1) * torch.arange(6)) % 8, y


def plan_of(name: str) -> Plan:
    torch.manual_seed(0)
    if name == "waveform":
        setup = Setup(as_data(waves()), nets.audio_cnn, batch_size=32)
    elif name == "tokens":
        setup = Setup(as_data(words(), task="classification"), Reader, batch_size=32)
    elif name == "convolutions":
        setup = replace(DIGITS, model=Normed)
    else:
        setup = DIGITS if name == "image" else resolve(name)
    return Plan(setup)


PLANS = {
    name: plan_of(name)
    for name in ("image", "convolutions", "wine", "diabetes", "waveform", "tokens")
}
ALL = [(name, kind) for name in PLANS for kind in KINDS if (name, kind) != ("tokens", "layer-wise")]


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_the_loss_falls_and_only_the_trunk_is_given_back(name: str, kind: Kind):
    plan = PLANS[name]
    member = plan.members([0])[0]
    fresh = plan.model(member)
    found = trunk.find(fresh, plan.sample(0))
    length = 2 if name in ("image", "convolutions") else 12
    got = pretrain.pretrain(plan, member, kind, length)
    assert got.curve[-1] < got.curve[0] or kind == "layer-wise"
    assert got.state.keys() == found.state().keys()
    assert any(not torch.equal(value, found.state()[key]) for key, value in got.state.items())
    assert got.passes > 0
    assert all(math.isfinite(score) for score in got.probe)
    assert f"{kind} pre-training took its loss from" in got.says()


@pytest.mark.parametrize("kind", KINDS)
def test_it_hangs_on_the_seed_alone(kind: Kind):
    plan = PLANS["wine"]
    first = pretrain.pretrain(plan, plan.members([3])[0], kind, 2)
    torch.rand(5)
    state = torch.get_rng_state()
    again = pretrain.pretrain(plan, plan.members([3])[0], kind, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.curve == again.curve
    assert all(torch.equal(again.state[name], value) for name, value in first.state.items())
    other = pretrain.pretrain(plan, plan.members([4])[0], kind, 2)
    assert other.curve != first.curve


def test_labels_make_no_difference_to_what_is_learnt():
    digits = data("digits")
    shuffled = replace(digits, y=torch.flip(digits.y, (0,)) if digits.y is not None else None)
    states = [
        pretrain.pretrain(plan, plan.members([0])[0], "masked", 1).state
        for plan in (Plan(DIGITS, digits), Plan(DIGITS, shuffled))
    ]
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["denoising", "contrastive"])
def test_features_of_digits_get_better(kind: Kind):
    plan = PLANS["image"]
    got = pretrain.pretrain(plan, plan.members([0])[0], kind)
    assert got.probe[1] > got.probe[0]


def test_what_makes_no_sense_is_said():
    text = Plan(
        Setup(
            as_data((torch.arange(80).reshape(8, 10) % 7,) * 2, task="sequence"), nets.Transformer
        )
    )
    assert "next tokens" in pretrain.reason_against(text, "masked")
    assert "only layer" in pretrain.reason_against(
        Plan(replace(DIGITS, model=nets.linear)), "masked"
    )
    assert "nothing to stack" in pretrain.reason_against(PLANS["tokens"], "layer-wise")
    assert not pretrain.reason_against(PLANS["wine"], "contrastive")
    with pytest.raises(PretextError, match="no views are known"):
        pretext.views(Form("regression", (2, 3, 4, 5), 1), torch.rand(2, 2, 3, 4, 5))
    big = torch.rand(2, 3, 160, 160)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8), nn.Linear(8, 2))
    with pytest.raises(PretextError, match="76,800 numbers"):
        Restoring(trunk.find(net, big), Spoiling("image", big, True), big)


def test_a_pool_without_labels_is_learnt_from():
    plan = PLANS["wine"]
    pool = torch.rand(300, 13) * 10
    inputs = Inputs(plan, 0, pool)
    count = len(plan.part(0).train)
    assert len(inputs) == count + 300
    mixed = inputs[torch.tensor([count - 1, count + 5])]
    own, more = plan.fetch(plan.part(0).train[-1:])[0], pool[5:6]
    assert torch.equal(mixed, plan.prepare(torch.cat([own, more]), plan.part(0).fitted))
    assert inputs[torch.tensor([count])].shape == (1, 13)
    with pytest.raises(PretextError, match=r"shape \(4,\); expected \(13,\)"):
        Inputs(plan, 0, torch.rand(3, 4))


def exploding(form: Form) -> nn.Module:
    model = nets.mlp(form)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1e30)
    return model


def test_a_loss_that_is_not_finite_ends_it():
    plan = Plan(replace(DIGITS, model=exploding))
    got = pretrain.pretrain(plan, plan.members([0])[0], "denoising", 4)
    assert got.state == {}
    assert len(got.curve) == 1
    assert "failed" in got.says()


def test_a_constant_column_and_a_rare_token_do_no_harm():
    torch.manual_seed(0)
    table = torch.rand(200, 4)
    table[:, 2] = 1_234.567
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    task = Restoring(trunk.find(net, table), Spoiling("table", table, masked=False), table)
    assert float(((table - task.centre) / task.spread)[:, 2].abs().max()) < 1e-2
    tokens = torch.randint(7, (40, 6))
    reader = Reader(Form("classification", (6,), 2, tokens=9))
    spoiling = Spoiling("tokens", tokens, masked=True)
    task = Restoring(trunk.find(reader, tokens), spoiling, tokens, tokens=9)
    tokens[0, 0] = 8
    assert task(tokens).item() == pytest.approx(math.log(9), abs=0.3)


def test_masks_hide_patches_spans_and_columns():
    torch.manual_seed(0)
    images = torch.rand(400, 3, 28, 28)
    hidden = Spoiling("image", images, masked=True).hidden(images)
    assert float(hidden.float().mean()) == pytest.approx(0.5, abs=0.02)
    patches = hidden.unfold(2, 4, 4).unfold(3, 4, 4).float().mean((-1, -2))
    assert set(patches.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    single = Spoiling("image", images, masked=False)
    assert float(single.hidden(images).float().mean()) == pytest.approx(0.2, abs=0.02)
    table = torch.arange(50.0)[:, None] + 1_000 * torch.arange(4.0)
    fill = Spoiling("table", table, masked=True).fill(table)
    assert torch.equal(
        fill.div(1_000, rounding_mode="floor"), table.div(1_000, rounding_mode="floor")
    )


def test_swapped_views_keep_each_column_what_it_is():
    torch.manual_seed(0)
    table = torch.arange(500.0)[:, None] + 1_000 * torch.arange(4.0)
    view = Swap(0.6)(table)
    assert float((view != table).float().mean()) == pytest.approx(0.6, abs=0.05)
    assert all(set(view[:, i].tolist()) <= set(table[:, i].tolist()) for i in range(4))


def test_the_contrastive_loss_knows_pairs():
    plan = PLANS["wine"]
    work = Work(plan, plan.members([0])[0], "contrastive")
    (phase,) = work.phases
    assert isinstance(phase, pretext.Contrast)
    x = work.inputs[torch.arange(40)]
    phase.steps = ()
    with torch.no_grad():
        same = float(phase(x))
        points = F.normalize(phase.project(phase.found.vectors(torch.cat([x, x]))), dim=1)
        near = (points @ points.T / 0.5).exp()
        by_hand = [
            -torch.log(near[i, (i + 40) % 80] / (near[i].sum() - near[i, i])) for i in range(80)
        ]
        phase.steps = (Swap(1.0),)
        other = float(phase(x))
    assert same == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-5)
    assert same < other - 0.05
    assert other == pytest.approx(math.log(79), abs=0.3)


def test_each_layer_is_trained_alone():
    plan = PLANS["convolutions"]
    member = plan.members([0])[0]
    work = Work(plan, member, "layer-wise")
    assert [type(phase) for phase in work.phases] == [Layer, Layer]
    first = work.phases[0]
    assert isinstance(first, Layer)
    before = {name: value.clone() for name, value in work.model.state_dict().items()}
    work.phases = [first]
    list(work.run(1))
    after = work.model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert "one.weight" in moved
    assert not moved & {"two.weight", "two.bias", "norm.weight", "out.weight"}


def test_looking_whether_it_makes_sense_leaves_the_network_alone():
    plan = PLANS["convolutions"]
    work = Work(plan, plan.members([0])[0], "contrastive")
    fresh = plan.model(plan.members([0])[0]).state_dict()
    assert all(torch.equal(fresh[name], value) for name, value in work.model.state_dict().items())
    assert all(p.grad is None for p in work.model.parameters())


def test_two_views_cost_about_twice_a_pass():
    plan = PLANS["waveform"]
    work = Work(plan, plan.members([0])[0], "contrastive")
    assert 1.9 < work.cost < 2.5
