"""Surgery on networks: the tree of modules, functions in forwards, and what must stay as it was."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from nomagic.parts import flow, inits, proof, scaling, surgery
from nomagic.parts.pools import AntiAliasedMaxPool2d

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
MAPS = torch.randn(6, 1, 9, 12, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Two layers with something between them, which a function does."""

    def __init__(self, unit: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.unit(self.a(x)))


def relus(model: nn.Module, sample: Tensor = X, slope: float = 0.25) -> nn.Module:
    """Hidden ReLUs become PReLUs."""
    return surgery.swap_units(model, sample, {"relu"}, lambda: nn.PReLU(init=slope))


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    """The different modules of a kind."""
    return sum(isinstance(module, kind) for module in model.modules())


# ---- functions ----


@pytest.mark.parametrize(
    "unit",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        torch.relu,
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: F.relu(x, inplace=True),
        lambda x: F.relu(input=x),
    ],
    ids=["module", "in-place", "F", "torch", "method", "method_", "F in-place", "keyword"],
)
def test_a_unit_is_found_however_it_is_called(unit: Any):
    model = Net(unit)
    expected = model(X)
    same = relus(copy.deepcopy(model), slope=0.0)
    assert count(same, nn.PReLU) == 1
    assert torch.equal(same(X), expected)
    assert torch.equal(same.b.weight, model.b.weight)
    other = relus(model)
    leaky = model.b(F.leaky_relu(model.a(X), 0.25))
    assert torch.equal(other(X), leaky)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: F.leaky_relu(x, 0.3), nn.LeakyReLU),
        (lambda x: F.elu(x, alpha=0.5), nn.ELU),
        (lambda x: F.gelu(x, approximate="tanh"), nn.GELU),
        (lambda x: F.softplus(x, 2.0), nn.Softplus),
        (lambda x: F.hardtanh(x, -0.5, 0.5), nn.Hardtanh),
        (lambda x: x.tanh(), nn.Tanh),
        (torch.sigmoid, nn.Sigmoid),
        (F.silu, nn.SiLU),
        (F.relu6, nn.ReLU6),
    ],
)
def test_a_lifted_function_keeps_its_settings(function: Any, kind: type[nn.Module]):
    model = Net(function)
    expected = model(X)
    lifted = surgery.lift(model, X, flow.UNITS.keys())
    assert count(lifted, kind) == 1
    assert torch.equal(lifted(X), expected)


def test_pools_and_local_response_norm_are_lifted_with_their_settings():
    def between(x: Tensor) -> Tensor:
        x = F.max_pool2d(x.reshape(-1, 1, 4, 4), 3, stride=2, padding=1)
        return F.local_response_norm(x, 3, k=2.0).flatten(1).repeat(1, 4)

    model = Net(between)
    expected = model(X)
    lifted = surgery.lift(model, X, {"max_pool2d", "local_response_norm"})
    assert count(lifted, nn.MaxPool2d) == count(lifted, nn.LocalResponseNorm) == 1
    assert torch.equal(lifted(X), expected)


def test_functional_dropout_still_depends_on_the_mode():
    class Drops(Net):
        def forward(self, x: Tensor, p: float = 0.5) -> Tensor:
            return self.b(F.dropout(F.relu(self.a(x)), p if self.training else 0.0, self.training))

    model = relus(Drops(F.relu))
    assert not torch.equal(model.train()(X), model(X))
    assert torch.equal(model.eval()(X), model(X))
    copied = copy.deepcopy(model).train()
    assert not torch.equal(copied(X), copied(X))


def test_a_default_that_is_not_given_stays_the_default():
    class Masked(Net):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return super().forward(x if mask is None else x * mask)

    model = Masked(F.relu)
    assert torch.equal(relus(copy.deepcopy(model), slope=0.0)(X), model(X))


def line(function: Any, text: str) -> str:
    """Where a line of a function stands in this file."""
    lines, first = inspect.getsourcelines(function)
    number = next(i for i, found in enumerate(lines) if text in found)
    return f"test_surgery.py:{first + number}"


class Branches(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        if h.mean() > 100:
            h = h * 2
        return self.b(h)


class Statement(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        F.relu_(h)
        return self.b(h)


class Elsewhere(Net):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + 0.1
        return self.b(F.relu(self.a(x)))


class Unregistered(Net):
    def __init__(self, unit: Any) -> None:
        super().__init__(unit)
        self.units = [nn.ReLU()]

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.units[0](self.a(x)))


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        (Branches, "F.relu", "symbolically traced variables"),
        (Statement, "F.relu_", "changes in place what is used elsewhere"),
        (Elsewhere, "F.relu", "something else in evaluation mode"),
        (Unregistered, "self.b(self", "module is not installed as a submodule"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_its_line(kind: Any, text: str, why: str):
    with pytest.raises(surgery.SurgeryError, match=why) as raised:
        relus(kind(F.relu))
    said = f"relu is called in forward at {line(kind.forward, text)} and the forward cannot be"
    assert str(raised.value).startswith(said)


def test_a_forward_that_branches_is_no_matter_where_units_are_modules():
    class Fine(Branches):
        def forward(self, x: Tensor) -> Tensor:
            h = self.unit(self.a(x))
            return self.b(h * 2 if h.mean() > 100 else h)

    assert count(relus(Fine(nn.ReLU())), nn.PReLU) == 1


def test_hooks_are_not_lost_silently():
    model = Net(F.relu)
    model.register_forward_hook(lambda *_: None)
    with pytest.raises(surgery.SurgeryError, match="it has hooks"):
        relus(model)


# ---- the tree ----


def test_units_in_nested_containers_are_found():
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Identity()))
            self.blocks = nn.ModuleList([first, nn.Sequential(nn.Linear(8, 8), nn.ReLU())])
            self.named = nn.ModuleDict({"layer": nn.Linear(8, 8), "unit": nn.ReLU()})
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            return self.head(self.named["unit"](self.named["layer"](x)))

    model = relus(Nested())
    assert count(model, nn.PReLU) == 3
    assert count(model, nn.ReLU) == 0
    assert isinstance(model.blocks[0][1][0], nn.PReLU)
    assert isinstance(model.named["unit"], nn.PReLU)


def test_a_shared_unit_is_replaced_once_and_stays_shared():
    unit = nn.ReLU()
    model = nn.Sequential(nn.Linear(8, 8), unit, nn.Linear(8, 8), unit, nn.Linear(8, 2))
    model = relus(model)
    assert model[1] is model[3]
    assert count(model, nn.PReLU) == 1


def test_a_module_that_a_plain_list_holds_as_well_is_replaced_there_too():
    class Held(Net):
        def __init__(self) -> None:
            super().__init__(nn.ReLU())
            self.steps = {"all": [self.a, (self.unit, self.b)]}

        def forward(self, x: Tensor) -> Tensor:
            a, (unit, b) = self.steps["all"]
            return b(unit(a(x)))

    model = relus(Held())
    assert model.steps["all"][1][0] is model.unit
    assert torch.equal(model(X), model.b(F.leaky_relu(model.a(X), 0.25)))


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    model = Tied()
    before = dict(model.named_parameters())
    changed = relus(model)
    assert changed.a.weight is changed.b.weight
    after = dict(changed.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())


def test_gates_outputs_and_other_units_stay():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.g, self.b = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.sigmoid(self.a(x))
            return torch.sigmoid(self.b(h * torch.sigmoid(self.g(x))))

    with pytest.raises(surgery.SurgeryError, match="there is no sigmoid in hidden layers"):
        surgery.swap_units(Gated(), X, {"sigmoid"}, nn.ReLU)


def test_a_unit_that_is_shared_with_the_output_is_replaced_in_hidden_layers_only():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(8, 8), nn.Linear(8, 2), nn.Sigmoid()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.b(self.act(self.a(x))))

    model = surgery.swap_units(Shared(), X, {"sigmoid"}, nn.ReLU)
    assert torch.equal(model(X), model.b(model.a(X).relu()).sigmoid())


def test_the_network_itself_can_be_what_is_replaced():
    old, new = nn.Linear(2, 2), nn.Identity()
    assert surgery.substitute(old, {old: new}) is new


def test_what_is_new_has_the_networks_precision():
    model = relus(Net(nn.ReLU()).double(), X.double())
    assert {p.dtype for p in model.parameters()} == {torch.float64}


# ---- looking ----


def test_looking_leaves_no_trace():
    model = nn.Sequential(
        nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2)
    )
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    seen = flow.observe(model, X)
    assert [call.name for call in seen.calls] == [
        "Linear",
        "BatchNorm1d",
        "dropout",
        "relu",
        "Linear",
    ]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(vars(module)["_forward_hooks"] for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert flow.observe(model, X[:1]).output.shape == (1, 2)  # in training, batch norm needs two


def test_a_skip_connection_is_followed():
    class Residual(Net):
        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            return self.b(F.relu(h + torch.tanh(h)))

    seen = flow.observe(Residual(F.relu), X)
    first = seen.calls[0]
    assert [user.name for user in seen.users(first)] == ["tanh", "add"]
    assert seen.last(first) is first
    assert seen.hidden(first)
    assert not seen.hidden(seen.calls[-1])


def test_torchs_own_transformer_is_looked_into():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 2))
    seen = flow.observe(model, torch.randn(3, 5, 8))
    assert [call.name for call in seen.units()] == ["relu"]
    assert sum(call.role == "norm" for call in seen.calls) == 2
    assert [call.module for call in seen.layers()] == [layer.linear1]


# ---- norms ----


def test_norms_go_behind_hidden_layers_whose_bias_goes():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(280, 16), nn.ReLU(), nn.Linear(16, 2)
    )
    weight = model[0].weight

    def batch(seen: flow.Flow, call: flow.Call) -> nn.Module | None:
        return surgery.norm("batch", seen, call)

    model = surgery.insert_norms(model, MAPS, batch)
    assert isinstance(model[0][1], nn.BatchNorm2d)
    assert isinstance(model[3][1], nn.BatchNorm1d)
    assert model[0][0].bias is None
    assert model[0][0].weight is weight
    assert isinstance(model[5], nn.Linear)
    assert model[5].bias is not None
    with pytest.raises(surgery.SurgeryError, match="no hidden layer that it fits"):
        surgery.insert_norms(model, MAPS, batch)


@pytest.mark.parametrize(("channels", "groups"), [(64, 16), (128, 32), (6, 1), (16, 4), (1, 1)])
def test_groups_have_four_channels_or_more(channels: int, groups: int):
    assert surgery.groups(channels) == groups


def test_instance_norm_is_left_out_where_pooling_would_read_nothing():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    seen = flow.observe(model, MAPS)
    assert surgery.norm("instance", seen, seen.calls[0]) is None
    assert isinstance(surgery.norm("group", seen, seen.calls[0]), nn.GroupNorm)


# ---- pools, initial weights, scaling, proofs ----


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 5)])
@pytest.mark.parametrize("ceil_mode", [True, False])
def test_the_anti_aliased_pool_is_a_max_pool_with_a_binomial_blur(size: Any, ceil_mode: bool):
    x = torch.randn(2, 3, *size)
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(row, row).expand(3, 1, 3, 3)
    largest = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    padded = F.pad(largest, (1, 1, 1, 1), mode="replicate")
    expected = F.conv2d(padded, kernel, stride=2, groups=3)
    if not ceil_mode:
        expected = expected[..., : size[0] // 2, : size[1] // 2]
    pool = AntiAliasedMaxPool2d(ceil_mode)
    torch.testing.assert_close(pool(x), expected)
    torch.testing.assert_close(torch.vmap(pool)(x[None].expand(2, *x.shape))[1], expected)


def test_rescaled_weights_keep_the_size_of_signals_through_depth():
    layers = [layer for _ in range(20) for layer in (nn.Linear(128, 128), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(128, 2))
    x = torch.randn(64, 128)
    head, weight = model[-1].weight.clone(), model[0].weight
    before = model[:-1](x).detach().std(0).mean()
    assert len(list(inits.unscaled(model, x))) == 20
    with flow.drawn(0):
        assert inits.rescale(model, x) is model
    assert before < 1e-3 < 0.1 < model[:-1](x).detach().std(0).mean() < 5
    assert model[0].weight is weight
    assert torch.equal(model[-1].weight, head)
    assert not model[0].bias.any()
    assert not list(inits.unscaled(model, x))


@pytest.mark.parametrize(
    ("unit", "gain"),
    [
        (nn.ReLU(), 2**0.5),
        (nn.LeakyReLU(0.5), (2 / 1.25) ** 0.5),
        (nn.PReLU(init=0.25), (2 / 1.0625) ** 0.5),
        (nn.Tanh(), 5 / 3),
        (nn.Sequential(nn.BatchNorm1d(16), nn.SELU()), 0.75),
    ],
)
def test_the_gain_is_that_of_the_unit_that_follows(unit: nn.Module, gain: float):
    (scale,) = inits.scales(Net(unit), X)
    assert scale.gain == pytest.approx(gain)
    assert scale.deviation == pytest.approx(gain / 8**0.5)


def test_tied_and_zero_weights_are_not_drawn():
    tied = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    tied[2].weight = tied[0].weight
    zero = Net(nn.ReLU())
    nn.init.zeros_(zero.a.weight)
    assert not inits.scales(tied, X)
    assert not inits.scales(zero, X)


def test_columns_are_features_or_channels():
    x = torch.randn(50, 3, 4, 4) * torch.tensor([1.0, 5.0, 0.0]).reshape(3, 1, 1) + 2
    mean, deviation = scaling.mean_and_deviation(x)
    assert mean.shape == (3, 1, 1)
    scaled = (x - mean) / deviation
    torch.testing.assert_close(scaled[:, :2].std((0, 2, 3)), torch.ones(2), atol=0.01, rtol=0)
    assert torch.equal(scaled[:, 2], torch.zeros(50, 4, 4))
    low, high = scaling.bounds(x)
    assert float(low) == float(x.min())
    assert float(high) == float(x.max())
    low, high = scaling.bounds(torch.tensor([[1.0, 2.0], [1.0, 4.0]]))
    assert low.tolist() == [1.0, 2.0]
    assert high.tolist() == [2.0, 4.0]


def test_ranks_straighten_a_skewed_column_and_keep_few_values_apart():
    random = torch.Generator().manual_seed(0)
    skewed = torch.randn(2_000, generator=random).exp()
    few = torch.randint(0, 3, (2_000,), generator=random).float()
    x = torch.stack((skewed, few, torch.zeros(2_000)), 1)
    values, scores = scaling.ranks(x)
    assert values.shape == scores.shape == (scaling.KNOTS, 3)
    y = scaling.by_rank(x, values, scores)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(y.std(0), torch.tensor([1.0, 1.0, 0.0]), atol=0.03, rtol=0)
    order = skewed.argsort()
    assert (y[order, 0].diff() >= 0).all(), "ranks keep the order"
    assert abs(stats.skew(y[:, 0])) < 0.1 * stats.skew(skewed), "and lose the skew"
    assert len(y[:, 1].unique()) == 3


def test_ranks_are_constant_beyond_what_was_seen_and_linear_between():
    x = torch.tensor([[0.0], [0.0], [10.0]])
    values, scores = scaling.ranks(x)
    low, between, high, beyond, below = scaling.by_rank(
        torch.tensor([[0.0], [5.0], [10.0], [99.0], [-9.0]]), values, scores
    ).flatten()
    assert beyond == high
    assert below == low
    assert between == pytest.approx(float(low + high) / 2)
    assert low < high


def test_the_proof_tells_networks_apart():
    torch.manual_seed(0)
    pool = nn.MaxPool1d(2)
    model = nn.Sequential(nn.Linear(8, 64), nn.GELU(), pool, nn.Linear(32, 2))
    other = nn.Sequential(model[0], pool, nn.GELU(), model[3])
    same = nn.Sequential(model[0], nn.GELU(), pool, model[3])
    assert proof.difference(model, same, X) == ""
    assert proof.difference(model, other, X) == "the output"
    before, after = proof.seconds(model, other, X)
    assert before > 0
    assert after > 0


def test_a_network_of_far_more_work_is_told_to_be_slower():
    before, after = proof.seconds(
        nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 900), nn.Linear(900, 900), nn.Linear(900, 2)), X
    )
    assert after > before
