"""Trunk and head are found in networks of every kind, and weights go where they belong."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nomagic.described import describe, restore
from nomagic.parts import nets, trunk
from nomagic.parts.trunk import Freeze, Start, Trunk, TrunkError
from nomagic.words import Form

IMAGES = Form("classification", (1, 8, 8), 10)
WAVES = Form("classification", (1, 1024), 4)
TABLE = Form("classification", (13,), 3)
TOKENS = Form("sequence", (12,), 20, tokens=20)


class Residual(nn.Module):
    """Two convolutions with norms around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.norm(self.first(x))))


class Net(nn.Module):
    """Called in another order than written, the way users do."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.fc = nn.Linear(8, classes)
        self.norm = nn.BatchNorm2d(8)
        self.slope = nn.PReLU()
        self.blocks = nn.ModuleList(Residual(8) for _ in range(3))
        self.stem = nn.Conv2d(1, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((2, 3)))


class Wrapped(nn.Module):
    """All of the trunk in one module, the head a 1 x 1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU())
        self.answer = nn.Conv2d(6, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.backbone(x)).mean((2, 3))


def named(found: Trunk) -> list[str]:
    return [block.name for block in found.blocks]


def test_blocks_come_in_the_order_in_which_they_run():
    found = trunk.find(Net(), torch.rand(2, 1, 8, 8))
    assert named(found) == ["stem", "blocks.0", "blocks.1", "blocks.2", "fc"]
    assert found.blocks[0].parameters == (
        "stem.weight",
        "stem.bias",
        "norm.weight",
        "norm.bias",
        "slope.weight",
    )
    assert found.shape == (8,)


def test_every_parameter_is_in_one_block():
    model = nets.Transformer(TOKENS, width=16)
    found = trunk.find(model, torch.zeros(2, 12, dtype=torch.long))
    names = [name for block in found.blocks for name in block.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert named(found) == ["token", "blocks.0", "blocks.1", "out"]
    assert found.blocks[0].parameters == ("place", "token.weight")


@pytest.mark.parametrize(
    ("model", "x", "shape", "channels"),
    [
        (nets.mlp(TABLE), torch.rand(2, 13), (64,), 64),
        (nets.image_cnn(IMAGES), torch.rand(2, 1, 8, 8), (64,), 64),
        (nets.audio_cnn(WAVES), torch.rand(2, 1, 1024), (256,), 256),
        (nets.Transformer(TOKENS), torch.zeros(2, 12, dtype=torch.long), (12, 64), 64),
        (Wrapped(), torch.rand(2, 1, 8, 8), (6, 4, 4), 6),
    ],
)
def test_features_are_what_the_head_is_given(
    model: nn.Module, x: Tensor, shape: tuple[int, ...], channels: int
):
    found = trunk.find(model, x)
    assert found.shape == shape
    assert found.features(x).shape == (2, *shape)
    assert found.vectors(x).shape == (2, channels) == (2, found.channels)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith(f"{found.name}."):
                p.zero_()
        assert not model(x).any()


def test_looking_changes_nothing():
    model = Net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trunk.find(model, torch.rand(2, 1, 8, 8))
    assert model.norm.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.fc._forward_pre_hooks


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.token.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(self.token(x)))


@pytest.mark.parametrize(
    ("model", "x", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(2, 4), "the only layer"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), torch.rand(2, 1, 4, 4), "is Conv2d"),
        (nn.Flatten(), torch.rand(2, 4), "no layer with weights"),
        (nn.LSTM(4, 2), torch.rand(2, 3, 4), "returns tuple"),
        (Tied(), torch.zeros(2, 5, dtype=torch.long), "out.weight is the same tensor as token"),
    ],
)
def test_networks_without_a_head_are_refused_in_words(model: nn.Module, x: Tensor, said: str):
    with pytest.raises(TrunkError, match=said):
        trunk.find(model, x)


def test_weights_of_another_number_of_classes_leave_the_head_fresh():
    x = torch.rand(2, 1, 8, 8)
    torch.manual_seed(0)
    old, new = Net(classes=1000), Net(classes=10)
    head = new.fc.weight.clone()
    loaded = trunk.load(trunk.find(new, x), old.state_dict())
    assert torch.equal(new.stem.weight, old.stem.weight)
    assert torch.equal(new.fc.weight, head)
    assert not loaded.head
    assert ("fc.weight", (1000, 8), (10, 8)) in loaded.reshaped
    assert any("(1000, 8)" in line and "afresh" in line for line in loaded.says())


@pytest.mark.parametrize("prefix", ["module.", "backbone."])
def test_names_may_begin_with_another_module(prefix: str):
    x = torch.rand(2, 1, 8, 8)
    old, new = Net(), Net()
    loaded = trunk.load(
        trunk.find(new, x), {prefix + name: value for name, value in old.state_dict().items()}
    )
    assert loaded.head
    assert not loaded.missing
    assert torch.equal(new.stem.weight, old.stem.weight)


def test_a_trunk_alone_fits_a_network_that_wraps_it():
    x = torch.rand(2, 1, 8, 8)
    old, new = Wrapped(), Wrapped()
    inner = old.backbone.state_dict()
    loaded = trunk.load(trunk.find(new, x), {**inner, "extra": torch.zeros(3)})
    assert len(loaded.loaded) == 4
    assert loaded.missing == ("answer.weight", "answer.bias")
    assert loaded.unknown == ("backbone.extra",)


def test_strange_weights_are_refused():
    found = trunk.find(Net(), torch.rand(2, 1, 8, 8))
    with pytest.raises(TrunkError, match="no tensor of the trunk"):
        trunk.load(found, {"conv.weight": torch.zeros(3)})
    with pytest.raises(TrunkError, match="not finite"):
        trunk.load(found, {"stem.bias": torch.full((8,), torch.nan)})


def test_a_start_is_a_plain_value_and_gives_the_weights(tmp_path):
    x = torch.rand(2, 1, 8, 8)
    old, new = Net(), Net()
    file = tmp_path / "weights.safetensors"
    save_file(trunk.find(old, x).state(), file)
    start = restore(describe(Start(str(file), trunk.digest(file))))
    assert start == Start(str(file), trunk.digest(file))
    assert torch.equal(start(new, x).stem.weight, old.stem.weight)
    assert not torch.equal(new.fc.weight, old.fc.weight)
    with pytest.raises(TrunkError, match="has changed"):
        Start(str(file), "0" * 64)(new, x)


def open_parameters(model: nn.Module) -> list[str]:
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_frozen_blocks_keep_weights_and_statistics():
    x = torch.rand(4, 1, 8, 8)
    model = Freeze(depth=2, norms="move")(Net(), x).train()
    assert {name.split(".")[0] for name in open_parameters(model)} == {"blocks", "fc"}
    assert all("blocks.2" in name for name in open_parameters(model) if name.startswith("blocks"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(x).sum().backward()
    moved = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert moved == {f"blocks.2.norm.{name}" for name in NORMS}


NORMS = ("running_mean", "running_var", "num_batches_tracked")


def test_kept_norms_compute_what_evaluation_does_and_keep_their_names():
    x = torch.rand(4, 1, 8, 8)
    plain = Net()
    plain(x)
    expected, names = plain.eval()(x), list(plain.state_dict())
    model = Freeze(norms="keep")(plain, x).train()
    assert torch.equal(model(x), expected)
    assert sorted(model.state_dict()) == sorted(names)
    assert "norm.weight" in open_parameters(model)
    assert "norm.weight" not in open_parameters(Freeze(norms="fixed")(Net(), x))
    assert restore(describe(Freeze(2, "move"))) == Freeze(2, "move")


def test_only_safetensors_are_read(tmp_path):
    file = tmp_path / "weights.pt"
    torch.save(Net().state_dict(), file)
    with pytest.raises(TrunkError, match="no safetensors file"):
        trunk.read(file)
    with pytest.raises(TrunkError, match="there is no file"):
        trunk.read(tmp_path / "none.safetensors")
