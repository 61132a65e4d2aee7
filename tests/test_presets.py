"""Presets: on every form they serve, as values, in training, and as a ladder."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nomagic.datasets import as_data, data
from nomagic.described import describe, restore
from nomagic.engine import choose, plain, stacked
from nomagic.engine.plan import Plan
from nomagic.parts.presets import choice, defaults, ladder, one_cycle, quick, small
from nomagic.parts.presets.images import Fire, FireNet, ResidualCnn, SeparableCnn
from nomagic.parts.presets.kinds import UnfitError, kind
from nomagic.parts.presets.plain import Linear, Mlp, TableMlp, Waves
from nomagic.parts.presets.signals import AudioCnn, ForecastNet, LogSpectrum, SignalCnn
from nomagic.parts.presets.text import TextGru, TextTransformer
from nomagic.words import Form, Setup

IMAGES = [(1, 8, 8), (8, 8), (3, 9, 13), (1, 28, 28), (3, 32, 32), (3, 64, 48), (3, 96, 96)]
WAVES = [(1, 1_024), (2, 4_096), (1, 48_000)]
SERIES = [(1, 5), (3, 128), (7, 96)]
NARROW: dict[str, Any] = {"widths": (4, 8, 8)}
IMAGE_NETS = [
    ResidualCnn(**NARROW),
    ResidualCnn(**NARROW, blocks=2, norm="group", zero=False, dropout=0.1),
    ResidualCnn((4, 8), norm="none"),
    FireNet((8, 16, 16)),
    SeparableCnn(**NARROW),
]
WAVE_NETS = [AudioCnn(**NARROW), SignalCnn(**NARROW)]
TABLE_NETS = [
    Mlp(8, 1),
    Mlp(8, 2, "batch", 0.1),
    Mlp(8, 3, "layer"),
    TableMlp(8, 2, 4, 3),
    TableMlp(8, waves=0),
]
TEXT_NETS = [
    TextTransformer(16, 1, 2),
    TextTransformer(16, 2, 2, dropout=0.1),
    TextGru(12),
    TextGru(8, 2, 0.1),
]


def numbers(shape: tuple[int, ...], outputs: int = 3) -> Form:
    return Form("classification", shape, outputs)


def tokens(task: Any) -> Form:
    return Form(task, (12,), 9, tokens=9)


SERVED = [
    *[(net, numbers(shape)) for net in IMAGE_NETS for shape in IMAGES],
    *[(net, numbers(shape)) for net in WAVE_NETS for shape in WAVES],
    *[(SignalCnn(**NARROW), numbers(shape)) for shape in SERIES],
    *[(ForecastNet(4), Form("regression", shape, 4)) for shape in SERIES],
    *[(net, numbers((13,))) for net in TABLE_NETS],
    *[(net, tokens(task)) for net in TEXT_NETS for task in ("sequence", "classification")],
    *[(Linear(), form) for form in (numbers((3, 8, 8)), numbers((5,)), numbers(()))],
    *[(Linear(), tokens(task)) for task in ("sequence", "classification")],
    (Mlp(8), numbers((2, 3, 4, 5))),
    (TableMlp(8), numbers(())),
]


def inputs(form: Form, size: int = 6) -> Tensor:
    random = torch.Generator().manual_seed(0)
    if form.tokens:
        return torch.randint(form.tokens, (size, *form.shape), generator=random)
    return torch.randn(size, *form.shape, generator=random)


def named(given: Any) -> str:
    return f"{given.shape}".replace(" ", "") if isinstance(given, Form) else repr(given)


@pytest.mark.parametrize(("preset", "form"), SERVED, ids=named)
def test_a_preset_serves_its_forms(preset: Any, form: Form) -> None:
    torch.manual_seed(0)
    model, x = preset(form), inputs(form)
    output = model(x)
    expected = (len(x), *form.shape, form.outputs) if form.task == "sequence" else (6, form.outputs)
    assert output.shape == expected
    assert output.isfinite().all()
    if getattr(preset, "zero", False):
        wake(model)
        output = model(x)
    output.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert model.eval()(x[:1]).shape == (1, *expected[1:])


def wake(model: nn.Module) -> None:
    """A block that starts as the identity has no gradient below its last norm yet."""
    for name, parameter in model.named_parameters():
        if name.endswith("body.2.weight"):
            nn.init.ones_(parameter)


@pytest.mark.parametrize(("preset", "form"), SERVED[::3], ids=named)
def test_a_preset_is_a_value(preset: Any, form: Form) -> None:
    again = restore(describe(preset))
    assert again == preset
    assert type(again) is type(preset)
    torch.manual_seed(1)
    first = preset(form)
    torch.manual_seed(1)
    second = again(form)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("preset", "form", "message"),
    [
        (ResidualCnn(), numbers((7,)), r"ResidualCnn serves images .* shape \(7,\): take TableMlp"),
        (ResidualCnn(), numbers((3, 4, 4)), "of at least 8 x 8 pixels; .*: take Mlp"),
        (FireNet(), numbers((1, 4_096)), "FireNet .*take AudioCnn"),
        (SeparableCnn(), tokens("sequence"), "inputs are 9 tokens .*take TextTransformer"),
        (AudioCnn(), numbers((1, 900)), "at least 1024 samples; .*take SignalCnn"),
        (SignalCnn(), numbers((3, 32, 32)), "SignalCnn .*take ResidualCnn"),
        (ForecastNet(), numbers((4,)), "ForecastNet serves series"),
        (TextGru(), numbers((4,)), "TextGru serves tokens"),
        (TextTransformer(), numbers((4,)), "TextTransformer serves tokens"),
        (TableMlp(), numbers((3, 8, 8)), "TableMlp serves tables"),
        (Mlp(), tokens("sequence"), "Mlp serves numbers"),
    ],
    ids=named,
)
def test_a_form_that_cannot_be_served_is_told(preset: Any, form: Form, message: str) -> None:
    with pytest.raises(UnfitError, match=message):
        preset(form)


def test_kinds() -> None:
    shapes: dict[Any, list[tuple[int, ...]]] = {
        "image": IMAGES,
        "waveform": WAVES,
        "series": SERIES,
        "table": [(), (4,), (5_000,)],
        "other": [(3, 4, 4), (1, 2, 3, 4)],
    }
    for name, some in shapes.items():
        assert {kind(numbers(shape)) for shape in some} == {name}
    assert kind(tokens("classification")) == "tokens"
    assert kind(Form("classification", (4, 4), 2, tokens=3)) == "other"


# -- what they are made of -------------------------------------------------------------------------


def test_residual_blocks_start_as_the_identity() -> None:
    form = numbers((3, 16, 16))
    torch.manual_seed(0)
    deep = ResidualCnn((4, 8), blocks=3)(form).eval()
    torch.manual_seed(0)
    bare = ResidualCnn((4, 8), blocks=0)(form).eval()
    bare[-1].load_state_dict(deep[-1].state_dict())
    x = inputs(form)
    torch.testing.assert_close(deep(x), bare(x))


def test_networks_take_images_of_other_sizes() -> None:
    for preset in IMAGE_NETS:
        model = preset(numbers((3, 32, 32))).eval()
        assert model(torch.randn(2, 3, 48, 40)).shape == (2, 3)


@pytest.mark.parametrize("side", [8, 16, 32, 63, 64, 96, 224])
def test_the_last_maps_have_four_to_fifteen_pixels_a_side(side: int) -> None:
    model = ResidualCnn((2, 2, 2, 2))(numbers((1, side, side))).eval()
    pool = next(i for i, layer in enumerate(model) if isinstance(layer, nn.AdaptiveAvgPool2d))
    assert 4 <= model[:pool](torch.zeros(1, 1, side, side)).shape[-1] <= 15


def test_fire_modules_have_few_parameters() -> None:
    fire = sum(p.numel() for p in Fire(64, 16, 64, "none").parameters())
    assert fire < sum(p.numel() for p in nn.Conv2d(64, 64, 3).parameters()) / 5


def test_separable_convolutions_have_few_parameters() -> None:
    form = numbers((3, 32, 32))
    assert size(SeparableCnn((16, 32, 64)), form) < size(ResidualCnn(), form) / 5


def size(preset: Any, form: Form) -> int:
    return sum(p.numel() for p in preset(form).parameters())


@pytest.mark.parametrize("hertz", [250, 1_000, 3_000])
def test_a_sine_lights_up_its_band(hertz: int) -> None:
    time = torch.arange(4_096) / 8_000
    found = LogSpectrum(256, 8_000, 32)((2 * math.pi * hertz * time).sin().reshape(1, 1, -1))
    assert found.shape == (1, 1, 32, 31)
    edges = 700 * (torch.linspace(0, math.log1p(4_000 / 700), 34).exp() - 1)
    band = int(found[0, 0].mean(-1).argmax())
    assert edges[band] < hertz < edges[band + 2]
    assert -0.5 < float(found.max()) < 0.5


def test_the_spectrum_equals_torch_stft() -> None:
    x = torch.randn(2, 1, 2_048, generator=torch.Generator().manual_seed(0))
    layer = LogSpectrum(256, 8_000, 32)
    hann = torch.hann_window(256)
    stft = torch.stft(x[:, 0], 256, 128, window=hann, center=False, return_complex=True)
    power = (stft[:, 1:128].abs() * 2 / hann.sum()).square()
    torch.testing.assert_close(
        layer(x)[:, 0], (layer.mel @ power + 1e-5).log(), rtol=1e-3, atol=1e-3
    )


def test_silence_and_long_waveforms_are_served() -> None:
    form = numbers((1, 400_000))
    model = AudioCnn(**NARROW)(form).eval()
    assert model(torch.zeros(2, *form.shape)).isfinite().all()
    assert model[:3](torch.zeros(1, *form.shape)).shape[-1] <= 128


def test_texts_look_back_only() -> None:
    for preset in (TextTransformer(16, 2, 2), TextGru(8)):
        model, x = preset(tokens("sequence")).eval(), inputs(tokens("sequence"))
        changed = x.clone()
        changed[:, 6:] = (changed[:, 6:] + 1) % 9
        a, b = model(x), model(changed)
        torch.testing.assert_close(a[:, :6], b[:, :6])
        assert not torch.allclose(a[:, 6:], b[:, 6:])


def test_classified_texts_look_both_ways() -> None:
    model, x = TextTransformer(16, 1, 2)(tokens("classification")).eval(), inputs(tokens("binary"))
    attended = model.blocks[0](model.token(x))
    changed = model.token(torch.cat((x[:, :-1], (x[:, -1:] + 1) % 9), 1))
    assert not torch.allclose(attended[:, 0], model.blocks[0](changed)[:, 0])


def test_one_hot_columns_times_weights_are_embeddings() -> None:
    layer = nn.Linear(5, 4)
    codes = torch.tensor([0, 3, 4])
    rows = nn.functional.one_hot(codes, 5).float()
    looked_up = nn.functional.embedding(codes, layer.weight.T) + layer.bias
    torch.testing.assert_close(layer(rows), looked_up)


def test_waves_learn_steps_that_hidden_layers_miss() -> None:
    x = torch.linspace(-2, 2, 128)[:, None]
    y = ((x * 4).floor() % 2)[:, 0]
    form = Form("regression", (1,), 1)
    losses: dict[int, float] = {}
    for waves in (0, 16):
        torch.manual_seed(0)
        model = TableMlp(32, 2, waves, spread=1.0)(form)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            loss = (model(x)[:, 0] - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[waves] = float(loss.detach())
    assert losses[16] < losses[0] / 2
    assert Waves([0, 1, 2], 4, 5, 1.0)(torch.zeros(2, 3)).shape == (2, 18)
    assert Waves([0, 2], 4, 5, 1.0)(torch.zeros(2, 3)).shape == (2, 13)


def test_columns_of_two_values_have_no_waves() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=random)
    x[:, 1] = (x[:, 1] > 0).float()
    form = as_data((x, x[:, 0] > 0)).form
    assert form.flags == (1,)
    (waves,) = [one for one in TableMlp(8, 1)(form).modules() if isinstance(one, Waves)]
    assert waves.columns == [0, 2]
    flags = as_data(((x > 0).float(), x[:, 0] > 0)).form
    assert flags.flags == (0, 1, 2)
    assert TableMlp(8, 1)(flags)((x > 0).float()).shape == (40, 2)


# -- ladders ---------------------------------------------------------------------------------------

FORMS = [
    numbers((1, 8, 8), 10),
    numbers((1, 28, 28), 10),
    numbers((3, 96, 96), 2),
    numbers((1, 4_096), 10),
    numbers((3, 128), 6),
    Form("regression", (7, 96), 24),
    Form("sequence", (64,), 65, tokens=65),
    Form("classification", (64,), 2, tokens=500),
    numbers((100,), 2),
    Form("regression", (8,), 1),
    numbers((2, 3, 4, 5), 2),
]


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_a_ladder_starts_with_a_linear_rung_and_grows(form: Form) -> None:
    rungs = ladder(form)
    assert isinstance(rungs[0].model, Linear)
    assert 5 <= len(rungs) <= 8
    assert len({rung.name for rung in rungs}) == len(rungs)
    sizes = [size(rung.model, form) for rung in rungs[1:]]
    assert sizes == sorted(set(sizes))
    x = inputs(form, 2)
    for rung in rungs:
        assert rung.model(form).eval()(x).shape[-1] == form.outputs
        assert restore(describe(rung.model)) == rung.model


@pytest.mark.parametrize("side", [24, 25, 32, 100])
def test_a_stem_skips_every_second_pixel(side: int) -> None:
    form = numbers((3, side, side), 10)
    model = ResidualCnn((4, 8, 8), stem=2)(form).eval()
    found = model[0](torch.zeros(1, 3, side, side))
    assert found.shape[-2:] == ((side + 1) // 2,) * 2
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_images_of_some_size_begin_with_strided_networks() -> None:
    names = [rung.name for rung in ladder(Form("classification", (1, 28, 28), 10))]
    assert names[1].startswith("strided")
    assert "residual" in names[-1]
    assert not any("strided" in rung.name for rung in ladder(numbers((1, 8, 8), 10)))


def test_small_images_have_a_quick_network() -> None:
    (rung,) = quick(Form("classification", (1, 28, 28), 10))
    assert rung.model == Mlp(256, 2)
    assert not quick(Form("classification", (3, 96, 96), 2))
    assert not quick(Form("regression", (8,), 1))


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_small_networks_are_small(form: Form) -> None:
    largest = size(ladder(form)[-1].model, form)
    for rung in small(form):
        assert size(rung.model, form) < largest / 5
        assert rung.model(form).eval()(inputs(form, 2)).shape[-1] == form.outputs


def test_only_series_with_several_outputs_are_forecast() -> None:
    assert isinstance(ladder(Form("regression", (7, 96), 24))[-1].model, ForecastNet)
    assert isinstance(ladder(Form("regression", (7, 96), 1))[-1].model, SignalCnn)
    assert not choice.forecast(Form("regression", (96,), 24))


# -- training --------------------------------------------------------------------------------------


def trained(form: Form, preset: Any, **changes: Any) -> Setup:
    x = inputs(form, 48)
    y = x.roll(-1, 1) if form.task == "sequence" else torch.arange(48) % form.outputs
    if form.task == "regression":
        y = torch.randn(48, form.outputs, generator=torch.Generator().manual_seed(1))
    given: dict[str, Any] = {
        "data": (x, y),
        "model": preset,
        "optimizer": partial(torch.optim.SGD, lr=0.02, momentum=0.9),
        "epochs": 2,
        "batch_size": 12,
        "precision": "float64",
    }
    return Setup(**(given | changes))


STACKED = [
    *[(net, numbers((3, 16, 16))) for net in IMAGE_NETS],
    (ResidualCnn(**NARROW), numbers((8, 8))),
    *[(net, numbers((1, 1_024))) for net in WAVE_NETS],
    (SignalCnn(**NARROW), numbers((3, 24))),
    (ForecastNet(4), Form("regression", (3, 24), 4)),
    *[(net, numbers((13,))) for net in TABLE_NETS],
    *[(net, tokens("sequence")) for net in (Linear(), *TEXT_NETS[:2])],
]


@pytest.mark.parametrize(("preset", "form"), STACKED, ids=named)
def test_a_stacked_member_equals_the_same_seed_alone(preset: Any, form: Form) -> None:
    plan = Plan(trained(form, preset))
    assert not stacked.reason_against(plan)
    alone, together = plain.train(plan, [1, 2]), stacked.train(plan, [1, 2])
    for a, b in zip(alone, together, strict=True):
        assert not a.failed
        assert b.curve == pytest.approx(a.curve, rel=1e-8)
        assert b.scores == pytest.approx(a.scores, rel=1e-7)


def test_recurrent_ones_train_in_another_way() -> None:
    plan = Plan(trained(tokens("sequence"), TextGru(8)))
    assert stacked.reason_against(plan)
    assert choose.choose(plan, 2).how in ("plain", "processes")
    assert not plain.train(plan, [1])[0].failed


def test_the_defaults_train_digits_well() -> None:
    digits = data("digits").subset(torch.arange(800))
    setup = Setup(digits, ResidualCnn((8, 16)), **{**defaults(digits.form, 600), "epochs": 6})
    assert plain.train(Plan(setup), [0])[0].scores["accuracy"] > 0.9


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_the_defaults_can_be_written_down(form: Form) -> None:
    for count in (100, 5_000, 60_000, 1_000_000):
        fields = defaults(form, count)
        assert restore(describe(fields["schedule"])) is one_cycle
        assert restore(describe(fields["inputs"])) == fields["inputs"]
        assert restore(describe(fields["optimizer"])).keywords == fields["optimizer"].keywords
        assert 3 <= fields["epochs"] <= 60
        assert replace(Setup((0, 0), Mlp()), **fields).batch_size in (32, 64, 128, 256)


def test_columns_of_long_tables_are_scaled_by_rank() -> None:
    table = Form("regression", (8,), 1)
    assert [step.name for step in defaults(table, 600)["inputs"]] == ["standardise-input"]
    assert [step.name for step in defaults(table, 20_000)["inputs"]] == ["standardise-by-rank"]
    image = Form("classification", (1, 28, 28), 10)
    assert [step.name for step in defaults(image, 60_000)["inputs"]] == ["standardise-input"]


@pytest.mark.parametrize("steps", [1, 2, 5, 100])
def test_one_cycle_rises_and_ends_near_zero(steps: int) -> None:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.2)]
    optimizer = torch.optim.SGD(groups)
    schedule, rates = one_cycle(optimizer, steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[1]["lr"])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rates[-1] / 2)
        optimizer.step()
        schedule.step()
    if steps == 100:
        assert max(rates) == pytest.approx(0.2, rel=0.01)
        assert rates.index(max(rates)) in (23, 24, 25)
        assert rates[-1] < 1e-3
