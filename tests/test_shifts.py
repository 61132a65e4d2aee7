"""Shifted inputs: the same for a seed, of the same form, and by as much as they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nomagic.datasets import data
from nomagic.fitting import shifts
from nomagic.fitting.shifts import Shift
from nomagic.words import Form


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def form(*shape: int, tokens: int = 0) -> Form:
    return Form("classification", shape, 2, tokens=tokens)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=random())


EXAMPLES = {
    "image": (form(3, 16, 12), torch.rand(6, 3, 16, 12, generator=random())),
    "audio": (form(1, 2048), normal(6, 1, 2048)),
    "series": (form(7, 96), normal(6, 7, 96)),
    "table": (form(12), normal(200, 12)),
    "text": (form(9, tokens=30), torch.randint(30, (50, 9), generator=random())),
}


def found(kind: str, seed: int = 0) -> dict[tuple[str, int], Shift]:
    return {(one.name, one.severity): one for one in shifts.shifts(*EXAMPLES[kind], seed)}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_is_recognised_and_keeps_its_form(kind: str):
    given, x = EXAMPLES[kind]
    assert shifts.kind(given) == kind
    for one in found(kind).values():
        assert one.x.shape == x.shape
        assert one.x.dtype == x.dtype
        assert bool(one.x.isfinite().all()) if x.is_floating_point() else int(one.x.max()) < 30
        assert not torch.equal(one.x, x), one.name


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_same_seed_gives_the_same(kind: str):
    once, again, other = found(kind), found(kind), found(kind, seed=1)
    assert all(torch.equal(once[key].x, again[key].x) for key in once)
    assert any(not torch.equal(once[key].x, other[key].x) for key in once)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_severity_grows(kind: str):
    x = EXAMPLES[kind][1].double()
    ordered: dict[str, list[float]] = {}
    for one in found(kind).values():
        ordered.setdefault(one.name, []).append(float((one.x.double() - x).abs().mean()))
    assert all(len(sizes) >= 3 for sizes in ordered.values())
    for name in ("noise", "fade", "blur", "typos", "gain", "missing"):
        sizes = ordered.get(name, [])
        assert sizes == sorted(sizes), name


def test_images_of_the_digits_stay_in_their_range_and_move_by_whole_pixels():
    digits = data("digits")
    every = list(shifts.shifts(digits.form, digits.x[:20]))
    assert [one.severity for one in every if one.name == "move"] == [1, 2]
    assert all(float(one.x.min()) >= 0 and float(one.x.max()) <= 1 for one in every)


def test_a_move_takes_the_picture_along():
    x = torch.zeros(40, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = next(one for one in shifts.shifts(form(1, 16, 16), x) if one.name == "move")
    places = moved.x[:, 0].flatten(1).argmax(1)
    rows, columns = places // 16 - 8, places % 16 - 8
    assert torch.equal(torch.maximum(rows.abs(), columns.abs()), torch.ones(40).long())
    assert float(moved.x.sum()) == 40


def test_a_turn_keeps_a_disc_and_turns_a_line():
    at = torch.arange(32) - 15.5
    disc = ((at[:, None] ** 2 + at**2).sqrt() < 10).float().expand(2, 1, 32, 32)
    line = (at.abs() < 2).float().expand(2, 1, 32, 32)
    for x, same in ((disc, True), (line, False)):
        for one in shifts.shifts(form(1, 32, 32), x):
            if one.name == "turn":
                assert (float((one.x - x).abs().mean()) < 0.03) == same
    steep = [one.x for one in shifts.shifts(form(1, 32, 32), line) if one.name == "turn"][-1]
    assert float(steep.sum()) == pytest.approx(float(line.sum()), rel=0.4)


def test_noise_of_sound_has_the_decibels_that_it_says():
    x = 3 * normal(8, 1, 4096)
    for one in shifts.shifts(form(1, 4096), x):
        if one.name == "noise":
            ratio = 10 * (x.square().mean() / (one.x - x).square().mean()).log10()
            assert float(ratio) == pytest.approx(float(one.amount.split()[0]), abs=0.3)


def test_codes_stay_codes():
    codes = torch.randint(4, (300, 1), generator=random()).float()
    x = torch.cat([codes, normal(300, 1)], 1)
    for one in shifts.shifts(form(2), x):
        assert set(one.x[:, 0].tolist()) <= {0.0, 1.0, 2.0, 3.0}
    changed = found_noise(x)
    assert 0.02 < float((changed[:, 0] != codes[:, 0]).float().mean()) < 0.15


def found_noise(x: Tensor) -> Tensor:
    return next(one.x for one in shifts.shifts(form(2), x) if one.name == "noise")


def test_few_columns_are_not_told_apart():
    every = [one for one in shifts.shifts(form(3), normal(50, 3)) if one.name == "missing"]
    assert [one.amount for one in every] == ["1 of 3 columns", "2 of 3 columns"]


def test_missing_columns_have_their_mean():
    x = EXAMPLES["table"][1]
    one = found("table")["missing", 1].x
    changed = one != x
    assert changed.sum(1).tolist() == [1] * len(x)
    assert torch.allclose(one[changed], x.mean(0).expand_as(x)[changed])


def test_tokens_are_replaced_as_often_as_is_said():
    x = torch.randint(50, (200, 100), generator=random())
    shares = [float((one.x != x).float().mean()) for one in shifts.shifts(form(100, tokens=50), x)]
    assert shares == pytest.approx([0.05 * 0.98, 0.15 * 0.98, 0.4 * 0.98], rel=0.05)
