"""How silent units are counted."""

import pytest
import torch

from nomagic.probes.activations import WINDOW, _fewer, _note_firing, _row, _Site
from nomagic.words import Place


def counted(batches: list[torch.Tensor], channel: int = 1) -> tuple[float, float, float]:
    site = _Site("relu", Place("train.py", 1), batches[0].shape[channel], channel)
    for batch in batches:
        _note_firing(site, batch)
    row = _row(site)
    return row.never, row.born, row.silent


def test_a_unit_that_dies_counts_at_the_end_only():
    alive, dying = torch.ones(100, 4), torch.ones(100, 4)
    dying[:, :3] = 0
    batches = [alive] * (WINDOW // 100) + [dying] * (WINDOW // 100)
    assert counted(batches) == (0.0, 0.0, 0.75)


def test_a_unit_that_wakes_counts_at_the_start_only():
    asleep, awake = torch.zeros(100, 2), torch.ones(100, 2)
    assert counted([asleep] * (WINDOW // 100) + [awake] * (WINDOW // 100)) == (0.0, 1.0, 0.0)


def test_few_samples_say_only_what_never_fired():
    never, born, silent = counted([torch.zeros(10, 4)])
    assert never == 1.0
    assert born != born
    assert silent != silent


def test_channels_of_maps_fire_at_any_position():
    maps = torch.zeros(50, 3, 8, 8)
    maps[7, 1, 3, 5] = 0.1
    assert counted([maps] * (2 * WINDOW // 50)) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_a_lone_firing_unit_of_a_huge_map_saves_the_layer_from_a_fault():
    maps = torch.zeros(64, 4, 128, 128)
    maps[1, 2, 1, 1] = 1.0
    assert not bool(_fewer(maps, 1).any())
    assert counted([maps])[0] == 0.75
