"""How silent units are counted, and what saturated ones block."""

import pytest
import torch

from nomagic.practices.activation import watch_saturation
from nomagic.probes.activations import (
    WINDOW,
    Activation,
    Activations,
    _fewer,
    _note_firing,
    _row,
    _Site,
)
from nomagic.probes.parameters import Moves, Parameters, Weight
from nomagic.probes.trace import Graph, Node, Trace
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


def saturating(below: float, above: float) -> list[str]:
    """The severities for a tanh that saturates late, by the gradients around it."""
    place = Place("train.py", 3)
    calls = (
        ("linear", (-1,), ("fc1.weight",)),
        ("tanh", (0,), ()),
        ("linear", (1,), ("fc2.weight",)),
        ("cross_entropy", (2,), ()),
    )
    nodes = tuple(
        Node(i, name, place, "", "", inputs, names, (8, 8), ())
        for i, (name, inputs, names) in enumerate(calls)
    )
    row = Activation(
        "tanh", "fc1", place, 8, 5_000, 50, flat=(0.1, 0.95), nodes=((0, 1),), inputs=64
    )
    weights = [
        Weight(name, shape=(8, 8), sampled=64, looks=(Moves(9, 9, size, 1.0, 0.1, 0.1),))
        for name, size in (("fc1.weight", below), ("fc2.weight", above))
    ]
    trace = Trace([Graph(place, 0, 1.0, nodes)])
    found = watch_saturation.check(Activations([row]), trace, Parameters(weights))
    return [finding.severity for finding in found]


def test_late_saturation_is_a_warning_only_where_the_gradient_is_blocked():
    assert saturating(below=0.1, above=1.0) == ["note"]
    assert saturating(below=1e-4, above=1.0) == ["warning"]
    assert saturating(below=0.0, above=0.0) == ["note"], "trained to the end: nothing to block"
