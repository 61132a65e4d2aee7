"""Augmentation: varied in training, untouched in evaluation, the same whoever trains beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nomagic.datasets import data
from nomagic.described import describe, restore
from nomagic.engine import draws, plain, stacked
from nomagic.engine.plan import Plan
from nomagic.parts import augment, chance, nets
from nomagic.parts.augment import (
    Affine,
    Augment,
    Blur,
    ColourJitter,
    DropPixels,
    Erase,
    Flip,
    Gain,
    Hiss,
    Noise,
    Shift,
    Speed,
    TimeMask,
    TimeShift,
)
from nomagic.words import Edit, Form, Setup

IMAGE_STEPS = (
    Flip(1.0),
    Shift(2),
    Affine(),
    ColourJitter(),
    Noise(),
    Blur(p=1.0),
    Erase(p=1.0),
    DropPixels(),
)
WAVE_STEPS = (TimeShift(), Speed(), Gain(), Hiss(), TimeMask())
IMAGES = [(3, 32, 32), (1, 8, 8), (8, 8), (3, 24, 40)]
WAVES = [(1, 1_024), (2, 4_096)]


def batch(shape: tuple[int, ...], size: int = 6, dtype: Any = torch.float32) -> Tensor:
    return torch.rand((size, *shape), generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("shape", IMAGES, ids=str)
@pytest.mark.parametrize("step", IMAGE_STEPS, ids=lambda step: type(step).__name__)
def test_images_keep_shape_and_type_and_are_varied(step: Any, shape: tuple[int, ...]) -> None:
    check(step, batch(shape))


@pytest.mark.parametrize("shape", WAVES, ids=str)
@pytest.mark.parametrize("step", WAVE_STEPS, ids=lambda step: type(step).__name__)
def test_waveforms_keep_shape_and_type_and_are_varied(step: Any, shape: tuple[int, ...]) -> None:
    check(step, batch(shape) - 0.5)


def check(step: Any, x: Tensor) -> None:
    before = x.clone()
    with draws.seeded(0):
        found = step(x)
    assert torch.equal(x, before), "the input itself is left alone"
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert found.isfinite().all()
    assert not torch.equal(found, x)
    assert step(x.double()).dtype == torch.float64
    assert restore(describe(step)) == step


@pytest.mark.parametrize(
    ("step", "shape"),
    [(one, (3, 32, 32)) for one in (*IMAGE_STEPS[1:], Flip())]
    + [(one, (1, 2_048)) for one in WAVE_STEPS],
    ids=lambda given: type(given).__name__,
)
def test_each_sample_is_varied_on_its_own(step: Any, shape: tuple[int, ...]) -> None:
    x = batch(shape, 1).expand(16, *shape)
    with draws.seeded(1):
        found = step(x).flatten(1)
    assert len(found.unique(dim=0)) > (1 if isinstance(step, Flip) else 5)


def test_evaluation_is_the_identity_bit_for_bit() -> None:
    for shape, steps in (((3, 32, 32), IMAGE_STEPS), ((1, 2_048), WAVE_STEPS)):
        layer = Augment(steps).eval()
        x = batch(shape)
        state = torch.get_rng_state()
        assert torch.equal(layer(x), x)
        assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"


def test_no_sample_is_seen_twice() -> None:
    layer = Augment((Flip(), Shift(4), Noise()))
    x = batch((3, 32, 32), 8)
    seen = torch.cat([layer(x) for _ in range(20)]).flatten(1)
    assert len(seen.unique(dim=0)) == len(seen)


def test_the_same_seed_draws_the_same() -> None:
    layer, x = Augment(IMAGE_STEPS), batch((3, 32, 32))

    def varied(seed: int) -> Tensor:
        with draws.seeded(seed):
            return layer(x)

    assert torch.equal(varied(3), varied(3))
    assert not torch.equal(varied(3), varied(4))


# -- what each step does ---------------------------------------------------------------------------


def test_flip_mirrors_half_of_the_images() -> None:
    x = batch((1, 4, 4), 400)
    with draws.seeded(0):
        found = Flip()(x)
    mirrored = (found == x.flip(-1)).flatten(1).all(1)
    assert ((found == x).flatten(1).all(1) ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240


def test_shift_moves_by_every_number_of_pixels_and_mirrors_the_border() -> None:
    x = torch.arange(8.0).expand(600, 1, 8, 8)
    with draws.seeded(0):
        found = Shift(2)(x)
    assert {int(one) for one in found[:, 0, 0, 3].unique()} == {1, 2, 3, 4, 5}
    right = found[found[:, 0, 0, 3] == 5][0, 0, 0]
    assert right.tolist() == [2, 3, 4, 5, 6, 7, 6, 5]


def test_shift_out_of_sight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Shift\(8\) moves images of 8 x 8 out of sight"):
        Shift(8)(batch((1, 8, 8)))


def test_affine_without_strength_is_the_identity_and_turns_squares_by_right_angles() -> None:
    x = batch((2, 9, 9))
    torch.testing.assert_close(Affine(0, 0)(x), x, atol=1e-5, rtol=0)
    with chance.drawn_by(lambda shape, like: torch.ones(shape, dtype=like.dtype)):
        turned = Affine(90, 0)(x)
    torch.testing.assert_close(turned, x.rot90(1, (-2, -1)), atol=1e-4, rtol=0)


def test_affine_keeps_proportions() -> None:
    x = torch.zeros(1, 1, 21, 41)
    x[..., 10, 10:31] = 1.0
    with chance.drawn_by(lambda shape, like: torch.ones(shape, dtype=like.dtype)):
        turned = Affine(90, 0)(x)
    torch.testing.assert_close(turned[0, 0, :, 20], torch.ones(21), atol=1e-4, rtol=0)
    assert float(turned.sum()) == pytest.approx(21, abs=1e-2)


def test_blur_keeps_the_sum_and_lowers_the_deviation() -> None:
    x = torch.zeros(4, 1, 21, 21)
    x[..., 10, 10] = 1.0
    found = Blur(1.0, 1.5, 1.0)(x)
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(4))
    assert (found.amax((1, 2, 3)) < 0.2).all()
    torch.testing.assert_close(found, found.flip(-1))


def test_erase_hides_one_square_of_at_most_the_share() -> None:
    x = batch((3, 32, 32), 64)
    hidden = (Erase(0.5, 1.0)(x) != x).any(1)
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(rows, columns)
    assert int(rows.max()) <= 16
    assert int(rows.min()) >= 1
    assert torch.equal(hidden.sum((1, 2)), rows * columns)


def test_dropped_pixels_take_the_mean_colour() -> None:
    x = batch((3, 32, 32), 16)
    found = DropPixels(0.1)(x)
    changed = found != x
    assert torch.equal(changed.any(1), changed.all(1))
    assert 0.08 < float(changed.float().mean()) < 0.12
    torch.testing.assert_close(
        found[changed], x.mean((2, 3), keepdim=True).expand_as(x)[changed], rtol=0, atol=0
    )


def test_colours_of_grey_images_stay_grey() -> None:
    x = batch((1, 16, 16)).expand(6, 3, 16, 16)
    found = ColourJitter(0, 0, 0.5)(x)
    torch.testing.assert_close(found, x)
    assert not torch.allclose(ColourJitter(0.5, 0, 0)(x), x)


def test_strengths_follow_the_scale_of_the_inputs() -> None:
    x = batch((3, 16, 16), dtype=torch.float64)
    for step in (ColourJitter(), Noise(), Erase(p=1.0)):
        with draws.seeded(5):
            small = step(x)
        with draws.seeded(5):
            large = step(7 * x - 3)
        torch.testing.assert_close(large, 7 * small - 3)


def test_waveforms_move_with_silence_behind() -> None:
    x = torch.ones(64, 1, 1_000)
    silent = (TimeShift(0.1)(x) == 0).sum(-1).flatten()
    assert 50 < int(silent.max()) <= 100
    assert len(silent.unique()) > 20


def test_speed_changes_the_pitch() -> None:
    time = torch.arange(2_000.0)
    x = (2 * torch.pi * 50 * time / 2_000).sin().expand(32, 1, -1)
    peaks = torch.fft.rfft(Speed(0.1)(x)[..., :1_800]).abs().argmax(-1).flatten()
    assert int(peaks.min()) < 45
    assert int(peaks.max()) > 46
    with chance.drawn_by(lambda shape, like: torch.full(shape, 0.5, dtype=like.dtype)):
        torch.testing.assert_close(Speed()(x), x)


def test_gain_and_hiss_are_in_decibels() -> None:
    x = batch((1, 4_000), 64) - 0.5
    factor = (Gain(6)(x).square().mean((1, 2)) / x.square().mean((1, 2))).log10() * 10
    assert factor.abs().max() <= 6.001
    assert factor.max() > 4
    assert factor.min() < -4
    noise = Hiss(10, 30)(x) - x
    ratio = (x.square().mean((1, 2)) / noise.square().mean((1, 2))).log10() * 10
    assert ratio.min() > 9.5
    assert ratio.max() < 30.5


def test_silence_adds_no_noise_that_is_not_finite() -> None:
    for step in (*WAVE_STEPS, Noise(), ColourJitter()):
        assert step(torch.zeros(4, 1, 32, 32)).isfinite().all()


# -- defaults --------------------------------------------------------------------------------------


def test_digits_are_shifted_and_never_mirrored() -> None:
    digits = data("digits")
    assert augment.sensible(digits.form, digits.x) == (Shift(1),)


def test_photos_are_mirrored_and_letters_are_not() -> None:
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(20, 3, 8, 8, generator=random)
    x = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    form = Form("classification", (3, 32, 32), 2, ("cat", "dog"))
    assert augment.sensible(form, x) == (Flip(), Shift(4))
    assert augment.sensible(replace(form, labels=("A", "B")), x) == (Shift(4),)
    grey = x[:, :1].expand_as(x)
    assert augment.sensible(form, grey) == (Shift(4),)
    drawing = (x > 0.6).float()
    assert augment.sensible(form, drawing) == (Shift(4),)


def test_defaults_by_what_the_data_are() -> None:
    wave = Form("classification", (1, 4_096), 10)
    assert augment.sensible(wave, batch((1, 4_096))) == (TimeShift(), Gain())
    assert augment.sensible(Form("regression", (8,), 1), batch((8,))) == ()
    tokens = Form("sequence", (8,), 9, tokens=9)
    assert augment.sensible(tokens, torch.zeros(2, 8, dtype=torch.long)) == ()


def test_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs are torch.int64 tokens"):
        augment.augmented(nn.Identity(), torch.zeros(2, 8, dtype=torch.long), (Noise(),))


# -- in training -----------------------------------------------------------------------------------


def setup(steps: Any, **changes: Any) -> Setup:
    digits = data("digits")
    few = replace(digits, x=digits.x[:200], y=digits.y[:200])
    given: dict[str, Any] = {
        "data": few,
        "model": partial(nets.image_cnn, width=4),
        "optimizer": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        "epochs": 2,
        "batch_size": 25,
        "precision": "float64",
        "edits": (Edit("augment", partial(augment.augmented, steps=steps)),),
    }
    return Setup(**(given | changes))


def waves() -> Setup:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, 1_024, generator=random)
    y = torch.arange(64) % 2
    return setup(WAVE_STEPS, data=(x, y), model=partial(nets.audio_cnn, width=8), batch_size=16)


@pytest.mark.parametrize("what", ["images", "waveforms"])
def test_a_stacked_member_equals_the_same_seed_alone(what: str) -> None:
    plan = Plan(setup((*IMAGE_STEPS[1:], Flip())) if what == "images" else waves())
    alone, together = plain.train(plan, [1, 2]), stacked.train(plan, [1, 2])
    for a, b in zip(alone, together, strict=True):
        assert b.curve == pytest.approx(a.curve, rel=1e-9)
        assert b.scores == pytest.approx(a.scores, rel=1e-8)
    assert alone[0].curve != alone[1].curve


def test_training_hangs_on_the_seed_alone_and_steps_change_it() -> None:
    plan = Plan(setup((Shift(1),)))
    torch.manual_seed(0)
    first = plain.train(plan, [1])[0].curve
    torch.manual_seed(1)
    assert plain.train(plan, [1])[0].curve == first
    bare = plain.train(Plan(setup((Shift(1),), edits=())), [1])[0].curve
    assert bare != first


def test_what_augmentation_draws_leaves_dropout_as_it_was() -> None:
    x, key = torch.ones(4, 100), torch.tensor(7)
    with draws.keyed(key, 0):
        alone = nn.functional.dropout(x, 0.5)
    with draws.keyed(key, 0):
        drawn = chance.uniform((4, 100), x)
        beside = nn.functional.dropout(x, 0.5)
        again = chance.uniform((4, 100), x)
    assert torch.equal(alone, beside)
    assert not torch.equal(drawn, again)
    assert 0.4 < float(drawn.mean()) < 0.6


def test_normal_numbers_are_normal() -> None:
    with draws.keyed(torch.tensor(3), 0):
        found = chance.normal((40_000,), torch.zeros((), dtype=torch.float64))
    assert float(found.mean()) == pytest.approx(0, abs=0.02)
    assert float(found.std()) == pytest.approx(1, abs=0.02)
    assert float((found.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.01)
