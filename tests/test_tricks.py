"""The contracts that hold for every trick, on small networks and real data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic import catalog
from nomagic.datasets import as_data, data
from nomagic.engine import plain, stacked
from nomagic.engine.plan import Member, Plan, undecayed
from nomagic.glimpse import Glimpse
from nomagic.parts.flow import observe
from nomagic.practices.activation.prelu import lean
from nomagic.trial.arms import glimpse
from nomagic.words import Arm, Edit, Form, NotApplicable, Practice, Proof, Setup

TRICKS = [practice for practice in catalog.load() if practice.apply is not None]
TWENTY = [
    "relu",
    "prelu",
    "elu",
    "no-sigmoid-tanh",
    "batch-norm",
    "layer-or-instance-norm",
    "group-norm-for-small-batches",
    "norm-before-activation",
    "dropout-after-wide-layers",
    "relu-after-maxpool",
    "no-lrn",
    "pool-for-shift-invariance",
    "scaled-init",
    "input-minus-one-one",
    "standardise-input",
    "shuffle-every-epoch",
    "weight-decay",
    "soft-targets",
    "ensemble",
    "learning-rate-first",
]
REDRAWN = {"scaled-init", "no-sigmoid-tanh-scaled"}
ONCE = set(TWENTY) - {"weight-decay", "learning-rate-first", "pool-for-shift-invariance", "relu"}
"""Tricks that are followed when they have been applied."""


class Convolutions(nn.Module):
    """What a user writes: layers as modules, units and pools as functions."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.lrn = nn.LocalResponseNorm(3)
        self.wide = nn.Linear(32, 260)
        self.head = nn.Linear(260, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x.reshape(-1, 1, 8, 8))), 2)
        x = self.lrn(torch.relu(self.second(x)))
        return self.head(self.wide(x.flatten(1)).relu())


def normed(form: Form) -> nn.Module:
    """Units before norms, tanh among them, and a max pool behind a unit."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Unflatten(1, (1, 8, 8)),
        nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Tanh(), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(96, form.classes),
    )


def followed(form: Form) -> nn.Module:
    """Advice taken: ReLU, layer norm before it, He's weights, nothing wide."""
    first, second = nn.Linear(form.features, 32), nn.Linear(32, 32)
    for layer in (first, second):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(first, nn.LayerNorm(32), nn.ReLU()),
        nn.Sequential(second, nn.LayerNorm(32), nn.ReLU()),
        nn.Linear(32, form.classes),
    )


def linear(form: Form) -> nn.Module:
    """No hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(form.features, form.classes))


MODELS: dict[str, Callable[[Form], nn.Module]] = {
    "convolutions": Convolutions,
    "normed": normed,
    "followed": followed,
}


@cache
def setup(kind: str) -> Setup:
    """A small setup: 160 digits, two epochs."""
    digits = data("digits")
    x, y = digits.batch(torch.arange(160))
    taken = kind == "followed"
    if taken:
        x = (x - x.mean()) / x.std()
    return Setup(
        data=as_data((x, y)),
        model=MODELS[kind],
        epochs=2,
        batch_size=16,
        shuffle="every-epoch" if taken else "once",
        smoothing=0.1 if taken else 0.0,
        members=2 if taken else 1,
    )


@cache
def seen(kind: str) -> Glimpse:
    """What tricks may look at."""
    return glimpse(Plan(setup(kind)), 0)


@cache
def offered(name: str, kind: str) -> tuple[Arm | Proof | NotApplicable, ...]:
    """What a trick has to say to a setup."""
    return apply(catalog.find(name), setup(kind))


def apply(practice: Practice, given: Setup) -> tuple[Arm | Proof | NotApplicable, ...]:
    """What a trick has to say to any setup."""
    assert practice.apply is not None
    return tuple(practice.apply(given, glimpse(Plan(given), 0)))


def arms(name: str, kind: str) -> list[Arm]:
    """The arms that a trick offers."""
    return [one for one in offered(name, kind) if isinstance(one, Arm)]


CASES = [(trick.name, kind) for trick in TRICKS for kind in MODELS]
contract = pytest.mark.parametrize(("name", "kind"), CASES)


def test_there_are_twenty():
    assert set(TWENTY) <= {trick.name for trick in TRICKS}


@contract
def test_a_trick_has_something_to_say_and_changes_nothing(name: str, kind: str):
    given, looked = setup(kind), seen(kind)
    before = {key: value.clone() for key, value in looked.model.state_dict().items()}
    modes = [module.training for module in looked.model.modules()]
    classes = [type(module) for module in looked.model.modules()]
    raw, state, edits = looked.raw.clone(), torch.get_rng_state(), given.edits
    practice = catalog.find(name)
    assert practice.apply is not None
    found = list(practice.apply(given, looked))
    assert found
    assert all(torch.equal(value, before[k]) for k, value in looked.model.state_dict().items())
    assert [module.training for module in looked.model.modules()] == modes
    assert [type(module) for module in looked.model.modules()] == classes
    assert torch.equal(looked.raw, raw)
    assert torch.equal(torch.get_rng_state(), state)
    assert given.edits is edits
    names = [one.name for one in found if not isinstance(one, NotApplicable)]
    assert len(set(names)) == len(names)
    for one in found:
        if isinstance(one, NotApplicable):
            assert one.reason
            assert len(found) == 1
        else:
            assert one.setup != given
    assert all(arm.what for arm in found if isinstance(arm, Arm))


@contract
def test_an_arm_trains_and_keeps_shapes(name: str, kind: str):
    expected = Plan(setup(kind)).model(Member(0))(seen(kind).sample).shape
    for arm in arms(name, kind):
        plan = Plan(arm.setup)
        assert plan.model(Member(0))(plan.sample(0, 16)).shape == expected
        both = stacked.train(plan, [0, 1])
        alone = plain.train(plan, [1])[0]
        for outcome in (*both, alone):
            assert not outcome.failed
            assert all(math.isfinite(loss) for loss in outcome.curve)
        assert both[1].curve[0] == pytest.approx(alone.curve[0], rel=1e-3)


@contract
def test_layers_that_both_arms_have_start_equal(name: str, kind: str):
    for arm in arms(name, kind):
        if arm.name in REDRAWN:
            continue
        base = Plan(arm.baseline or setup(kind)).model(Member(3)).state_dict().values()
        changed = list(Plan(arm.setup).model(Member(3)).state_dict().values())
        for weight in (value for value in base if value.ndim > 1):
            assert any(torch.equal(weight, one) for one in changed if one.shape == weight.shape)


@contract
def test_an_arm_differs_from_the_setup(name: str, kind: str):
    x, _ = Plan(setup(kind)).fetch(torch.arange(16))
    base = _numbers(Plan(setup(kind)), x)
    for arm in arms(name, kind):
        changed = _numbers(Plan(arm.setup), x)
        assert not torch.equal(base, changed), arm.name


def _numbers(plan: Plan, x: Tensor) -> Tensor:
    """Outputs of a trained network, and its training losses."""
    trained = [plain.fit(plan, member) for member in plan.members([0])]
    part = plan.part(0)
    outputs = torch.stack([one.model.eval()(plan.prepare(x, part.fitted)) for one in trained])
    return torch.cat([outputs.mean(0).detach().flatten(), torch.tensor(trained[0].curve)])


@pytest.mark.parametrize("name", TWENTY)
def test_each_trick_is_tried_on_one_of_the_setups(name: str):
    found = [one for kind in MODELS for one in offered(name, kind)]
    assert any(isinstance(one, Arm | Proof) for one in found)


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_was_applied_is_not_applied_again(name: str):
    for kind in MODELS:
        for one in offered(name, kind):
            if not isinstance(one, NotApplicable):
                again = apply(catalog.find(name), one.setup)
                assert all(isinstance(other, NotApplicable) for other in again), (kind, one.name)


@pytest.mark.parametrize("first", TWENTY)
def test_tricks_compose_in_any_order_of_two(first: str):
    kind = next(k for k in MODELS if any(not _declined(one) for one in offered(first, k)))
    one = next(one for one in offered(first, kind) if not isinstance(one, NotApplicable))
    looked = glimpse(Plan(one.setup), 0)
    tried = 0
    for second in TRICKS:
        if second.name == first or second.apply is None:
            continue
        for other in second.apply(one.setup, looked):
            if not isinstance(other, NotApplicable):
                _takes_a_step(Plan(other.setup))
                tried += 1
    assert tried > 10


def _declined(one: Any) -> bool:
    return isinstance(one, NotApplicable)


def _takes_a_step(plan: Plan) -> None:
    model = plan.model(Member(0)).train()
    x, y = plan.fetch(plan.part(0).train[:16])
    loss = plan.loss(model(plan.prepare(x, plan.part(0).fitted)), y)
    loss.backward()
    assert bool(loss.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


# ---- one by one ----


def model(name: str, kind: str, arm: str = "") -> nn.Module:
    """The network of an arm."""
    found = next(one for one in arms(name, kind) if not arm or one.name == arm)
    return Plan(found.setup).model(Member(0))


def kinds(network: nn.Module) -> list[str]:
    """What runs in a network, in order."""
    return [call.name for call in observe(network, seen("convolutions").sample).calls]


def reason(name: str, given: Setup) -> str:
    """Why a trick declines a setup."""
    (found,) = apply(catalog.find(name), given)
    assert isinstance(found, NotApplicable), found
    return found.reason


def test_the_slopes_of_prelu_begin_as_told_and_are_not_decayed():
    network = model("prelu", "convolutions", "prelu-0.25")
    slopes = {n: p for n, p in network.named_parameters() if p.numel() == 1}
    assert [p.item() for p in slopes.values()] == [0.25] * 3
    assert undecayed(network) == set(slopes)
    assert kinds(network).count("prelu") == 3


def test_relu_comes_after_max_pool_and_that_is_proven():
    for kind in ("convolutions", "normed"):
        (proof,) = offered("relu-after-maxpool", kind)
        assert isinstance(proof, Proof)
        assert proof.before > 0
        assert proof.after > 0
        names = [
            name for name in kinds(Plan(proof.setup).model(Member(0))) if "Identity" not in name
        ]
        assert names.index("max_pool2d") + 1 == names.index("relu")


def test_a_pair_that_is_not_identical_is_no_proof():
    def network(form: Form, alpha: float) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.LeakyReLU(alpha),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, form.classes),
        )

    falling = replace(setup("convolutions"), model=partial(network, alpha=-0.5))
    assert "it would change the result: the output differs" in reason("relu-after-maxpool", falling)
    rising = replace(setup("convolutions"), model=partial(network, alpha=0.5))
    assert isinstance(apply(catalog.find("relu-after-maxpool"), rising)[0], Proof)


def test_pools_stand_behind_the_unit_and_nothing_strides():
    for kind in ("max", "average", "anti-aliased"):
        network = model("pool-for-shift-invariance", "convolutions", f"pool-{kind}")
        assert all(m.stride == (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))
    names = kinds(model("pool-for-shift-invariance", "convolutions", "pool-max"))
    assert names[names.index("local_response_norm") - 1] == "max_pool2d"
    assert "max_pool2d" not in kinds(model("pool-for-shift-invariance", "normed", "pool-average"))


def test_norms_move_before_units():
    names = [n for n in kinds(model("norm-before-activation", "normed")) if n != "Identity"]
    assert names.index("BatchNorm2d") + 1 == names.index("tanh")


def test_dropout_stands_behind_the_unit_of_the_wide_layer():
    names = kinds(model("dropout-after-wide-layers", "convolutions", "dropout-0.3"))
    assert names[-3:] == ["relu", "dropout", "Linear"]
    assert len(arms("dropout-after-wide-layers", "convolutions")) == 4


def test_norms_replace_biases_of_hidden_layers():
    network = model("batch-norm", "convolutions")
    assert kinds(network).count("BatchNorm2d") == 2
    assert kinds(network).count("BatchNorm1d") == 1
    biased = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [m.bias is None for m in biased].count(False) == 1


def test_local_response_norm_goes():
    assert "local_response_norm" not in kinds(model("no-lrn", "convolutions", "no-lrn"))
    assert "BatchNorm2d" in kinds(model("no-lrn", "convolutions", "no-lrn-but-batch-norm"))


def test_inputs_are_scaled_by_the_training_part_alone():
    for name in ("input-minus-one-one", "standardise-input"):
        (arm,) = arms(name, "convolutions")
        plan = Plan(arm.setup)
        part = plan.part(0)
        x = plan.prepare(plan.fetch(part.train)[0], part.fitted)
        if name == "standardise-input":
            assert float(x.mean()) == pytest.approx(0, abs=1e-4)
            assert float(x.std()) == pytest.approx(1, abs=1e-3)
        else:
            assert (float(x.min()), float(x.max())) == (-1.0, 1.0)


LEANT = Edit("prelu-0.1", partial(lean, slope=0.1))


def test_where_all_are_relus_the_rivals_are_tried():
    found = {arm.name: arm for arm in arms("relu", "convolutions")}
    assert list(found) == ["gelu", "silu", "leaky-relu-0.1"]
    for name, kind in zip(found, (nn.GELU, nn.SiLU, nn.LeakyReLU), strict=True):
        assert found[name].rival
        model = Plan(found[name].setup).model(Member(0))
        assert sum(isinstance(module, kind) for module in model.modules()) == 3


def test_prelu_is_also_tried_with_scaled_weights_on_both_sides():
    (arm,) = (one for one in arms("prelu", "convolutions") if one.baseline is not None)
    assert arm.name == "prelu-0.1-on-scaled-init"
    before, after = (Plan(one).model(Member(3)) for one in (arm.baseline, arm.setup))
    weights = {name: value for name, value in after.named_parameters() if value.ndim > 1}
    for name, value in before.named_parameters():
        if value.ndim > 1:
            assert torch.equal(value, weights[name])
    assert not [arm for arm in arms("prelu", "followed") if arm.baseline is not None]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("prelu", {"model": linear}, "there is no relu in hidden layers"),
        ("elu", {"model": linear}, "there is no relu in hidden layers"),
        ("relu", {"model": linear}, "there are no units in hidden layers"),
        ("scaled-init", {"model": linear}, "there is no hidden layer that a unit follows"),
        ("scaled-init", {"model": followed}, "scaled by fan-in for their units: it is followed"),
        ("batch-norm", {"model": linear}, "there is no hidden layer that it fits behind"),
        ("batch-norm", {"model": normed}, "the network has norm layers (BatchNorm2d)"),
        ("layer-or-instance-norm", {"model": followed}, "it is followed already"),
        ("norm-before-activation", {"model": followed}, "it is followed already"),
        ("relu-after-maxpool", {"model": linear}, "no monotone unit stands right before max"),
        ("no-lrn", {"model": linear}, "there is no local response norm in the network"),
        ("pool-for-shift-invariance", {"model": linear}, "skips every second pixel"),
        ("dropout-after-wide-layers", {"model": followed}, "no hidden layer is wider than 256"),
        ("soft-targets", {"loss": nn.MultiMarginLoss()}, "not the cross entropy of classes"),
        ("batch-norm", {"batch_size": 4}, "batches of 4 are too small to normalise by"),
        ("group-norm-for-small-batches", {"batch_size": 64}, "batches of 64 are not small"),
        ("group-norm-for-small-batches", {}, "there is no batch norm"),
        ("norm-before-activation", {}, "there is no norm in the network"),
        ("no-sigmoid-tanh", {}, "there is no hardsigmoid or hardtanh or sigmoid or tanh in hidden"),
        ("relu", {"edits": (LEANT,)}, "hidden units are prelu: it is followed already"),
        ("ensemble", {"members": 5}, "it is an ensemble of 5"),
        ("shuffle-every-epoch", {"shuffle": "every-epoch"}, "every epoch is shuffled"),
        ("shuffle-every-epoch", {"batch_size": 999}, "in one batch"),
        ("soft-targets", {"smoothing": 0.05}, "targets are smoothed by 0.05"),
        ("soft-targets", {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}, "the loss smooths"),
        ("weight-decay", {"optimizer": partial(torch.optim.Rprop, lr=1e-3)}, "no weight decay"),
    ],
)
def test_a_trick_says_why_it_does_not_apply(name: str, changes: dict[str, Any], said: str):
    assert said in reason(name, replace(setup("convolutions"), **changes))


def test_inputs_that_are_scaled_are_left_alone():
    digits = data("digits")
    x, y = digits.batch(torch.arange(160))
    scaled = replace(setup("convolutions"), data=as_data((2 * x - 1, y)))
    assert reason("input-minus-one-one", scaled) == "inputs go from -1 to 1: it is followed already"
    assert "it is followed already" in reason("standardise-input", setup("followed"))


class Pretrained(nn.Module):
    """A network that does not draw its weights."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.a, self.b = nn.Linear(64, 8), nn.Linear(8, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x.flatten(1)))
        return self.b(h if h.sum() > -1 else -h)


def test_pretrained_weights_are_not_drawn_again():
    given = replace(setup("convolutions"), model=Pretrained)
    assert reason("scaled-init", given) == (
        "weights are the same in two fresh networks: they are not drawn"
    )


def test_a_forward_that_cannot_be_traced_is_named_with_its_line():
    given = replace(setup("convolutions"), model=Pretrained)
    said = reason("prelu", given)
    assert said.startswith("relu is called in forward at test_tricks.py:")
    assert "the forward cannot be traced" in said


def test_a_network_that_reads_its_layers_attributes_is_told_so():
    class Reads(Pretrained):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x.flatten(1))) * self.a.out_features)

    said = reason("batch-norm", replace(setup("convolutions"), model=Reads))
    assert "the network does not run with it" in said
    assert "out_features" in said


def test_tokens_are_not_scaled_and_numbers_are_not_smoothed():
    tokens = torch.randint(9, (64, 5), generator=torch.Generator().manual_seed(0))

    def network(form: Form) -> nn.Module:
        return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, form.outputs))

    given = Setup(data=as_data((tokens, torch.randn(64))), model=network)
    for name in ("standardise-input", "input-minus-one-one"):
        assert "no numbers to be scaled" in reason(name, given)
    assert "smoothing is for classes" in reason("soft-targets", given)
