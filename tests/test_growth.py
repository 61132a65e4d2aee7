"""What more data would bring: the law is found, intervals hold as often as they say."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from nomagic.datasets import Data, data
from nomagic.fitting import growth
from nomagic.fitting.growth import Fewer, GrowthError, Points
from nomagic.words import Form, Setup

SIZES = (125, 250, 500, 1000)


def law(times: float, floor: float, part: float, exponent: float) -> float:
    return floor + part * times**-exponent


def points(true: tuple[float, float, float], noise: float, seeds: int = 3, draw: int = 0) -> Points:
    """Errors of a law whose noise grows with their root, each seed off by 1 point beside."""
    random = np.random.default_rng(draw)
    means = np.array([law(size / SIZES[-1], *true) for size in SIZES])
    each = noise * np.sqrt(means / means[-1]) * random.standard_normal((seeds, len(SIZES)))
    errors = means + each + 0.01 * random.standard_normal((seeds, 1))
    return Points(SIZES, tuple(map(tuple, errors.T.tolist())))


@pytest.mark.parametrize("true", [(0.02, 0.05, 0.5), (0.0, 0.1, 0.3), (0.1, 0.02, 1.0)])
def test_a_law_without_noise_is_found(true: tuple[float, float, float]):
    found = growth.extrapolate(points(true, noise=1e-6, seeds=60))
    gain = law(1, *true) - law(2, *true)
    assert found.gain == pytest.approx(gain, rel=0.05)
    assert found.low <= gain * 1.001
    assert found.high >= gain * 0.999
    assert found.exponent == pytest.approx(true[2], rel=0.1)
    assert found.floor == pytest.approx(true[0], abs=0.01)


LAWS = [(0.02, 0.05, 0.5), (0.0, 0.1, 0.3), (0.2, 0.0005, 0.5), (0.02, 0.05, 1.4)]


def covered(true: tuple[float, float, float], noise: float, seeds: int, trials: int) -> float:
    gain = law(1, *true) - law(2, *true)
    inside = 0
    for draw in range(trials):
        sizes, errors = growth._finished(points(true, noise, seeds, draw))
        laws = growth._laws(sizes, errors)
        low, _, high = laws.interval(laws.part * (1 - 2.0**-laws.exponent))
        inside += low <= gain <= high
    return inside / trials


def test_intervals_hold_the_gain():
    assert covered((0.0, 0.1, 0.3), noise=0.01, seeds=3, trials=60) >= 0.87


@pytest.mark.slow
@pytest.mark.parametrize("true", LAWS)
@pytest.mark.parametrize("noise", [0.003, 0.01])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_as_often_as_they_say(
    true: tuple[float, float, float], noise: float, seeds: int
):
    assert covered(true, noise, seeds, trials=1_000) >= 0.91


def test_flat_errors_say_that_data_will_not_help():
    flat = Points(SIZES, tuple((0.2 + 0.001 * i, 0.21, 0.2) for i in range(4)))
    found = growth.extrapolate(flat)
    assert found.gain < 0.005
    assert not found.helps
    text = " ".join(growth.says(found))
    assert "hardly help" in text
    assert "cannot be ruled out" in text


def test_a_steep_law_says_that_data_will_help():
    found = growth.extrapolate(points((0.0, 0.1, 0.5), noise=0.001))
    assert found.helps
    assert "would bring +" in growth.says(found)[0]
    assert "2000 training samples" in growth.says(found)[0]


def test_points_that_follow_no_law_are_told():
    bump = Points(
        SIZES, ((0.1, 0.101, 0.099), (0.3, 0.301, 0.299), (0.1, 0.1, 0.1), (0.3, 0.3, 0.3))
    )
    found = growth.extrapolate(bump)
    assert not found.fits
    assert "do not follow" in growth.says(found)[-1]


def test_failed_seeds_are_left_out_and_few_points_refused():
    kept = points((0.02, 0.05, 0.5), noise=0.003, seeds=4)
    failed = Points(SIZES, tuple((*row[:3], math.nan) for row in kept.errors))
    fewer = Points(SIZES, tuple(row[:3] for row in kept.errors))
    assert growth.extrapolate(failed).gain == growth.extrapolate(fewer).gain
    for short in (
        Points(SIZES[:2], kept.errors[:2]),
        Points(SIZES, tuple((row[0],) for row in kept.errors)),
        Points((), ()),
    ):
        with pytest.raises(GrowthError, match="three sizes"):
            growth.extrapolate(short)
        assert growth.evidence(short).skipped


def test_the_picture_has_points_line_and_band():
    stage = growth.evidence(points((0.02, 0.05, 0.5), noise=0.003))
    (picture,) = stage.pictures
    line, measured, twice = picture.series
    assert picture.log == "xy"
    assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))
    assert measured.x == SIZES
    assert twice.x == (2000,)
    assert stage.numbers["low"] <= stage.numbers["gain"] <= stage.numbers["high"]


# -- trainings ----------------------------------------------------------------------------------


def mlp(form: Form) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, 32), nn.ReLU(), nn.Linear(32, form.outputs)
    )


def setup(given: Data | str, epochs: int = 4) -> Setup:
    rate = partial(torch.optim.Adam, lr=0.01)
    return Setup(given, mlp, optimizer=rate, epochs=epochs, batch_size=64, patience=3)


def test_shares_are_nested_and_keep_steps_and_held_out_part():
    given = data("digits")
    whole, half, quarter = (Fewer(setup(given), None, share) for share in (1.0, 0.5, 0.25))
    parts = [plan.part(3) for plan in (whole, half, quarter)]
    assert [len(part.train) for part in parts] == [1348, 674, 337]
    assert all(torch.equal(part.held, parts[0].held) for part in parts)
    assert (
        set(parts[2].train.tolist()) < set(parts[1].train.tolist()) < set(parts[0].train.tolist())
    )
    steps = [plan.steps(plan.members([3])[0]) for plan in (whole, half, quarter)]
    assert max(steps) < 1.2 * min(steps)
    assert quarter.setup.patience == 12


def test_the_latest_rows_are_kept_in_time():
    plan = Fewer(replace(setup(data("digits")), split="time"), None, 0.25)
    assert plan.part(0).train.tolist() == list(range(1348 - 337, 1348))


def test_more_digits_bring_less_error():
    random = torch.Generator().manual_seed(0)
    given = data("digits").subset(torch.randperm(1797, generator=random)[:800])
    found = growth.measure(setup(given), seeds=(0, 1), how="stacked")
    assert found.sizes == (75, 150, 300, 600)
    stage = growth.evidence(found)
    assert stage.numbers["errors"][0][0] > stage.numbers["now"] > 0
    assert stage.numbers["helps"]


def test_tiny_shares_and_single_seeds():
    given = data("wine")
    found = growth.measure(setup(given, epochs=1), seeds=(0, 1), how="plain")
    assert found.sizes == (34, 67, 134)
    with pytest.raises(GrowthError, match="two or more"):
        growth.measure(setup(given), seeds=(0,))


@pytest.mark.slow
@pytest.mark.skipif("NOMAGIC_DATA" not in os.environ, reason="needs the public data sets")
def test_half_of_the_clothes_foretell_what_all_bring():
    """Eight disjoint sets of 2,000: the gain of the second half, read from the first."""
    clothes, inside = data("fashion-mnist"), 0
    for number in range(8):
        given = clothes.subset(torch.arange(2_000 * number, 2_000 * (number + 1)))
        plan = setup(given, epochs=12)
        seeds = tuple(range(10 * number, 10 * number + 3))
        foretold = growth.extrapolate(
            growth.measure(plan, None, seeds, (1 / 16, 1 / 8, 1 / 4, 1 / 2), "stacked")
        )
        found = np.array(
            growth.measure(
                plan, None, range(10 * number, 10 * number + 8), (0.5, 1.0), "stacked"
            ).errors
        )
        gains = found[0] - found[1]
        noise = 2 * gains.std(ddof=1) / math.sqrt(len(gains))
        print(number, foretold.low, foretold.gain, foretold.high, gains.mean(), noise)
        inside += foretold.low - noise <= gains.mean() <= foretold.high + noise
    assert inside >= 6
