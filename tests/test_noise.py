"""Intervals of scores hold what they say, also with few samples and without any error."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nomagic import described
from nomagic.engine.plan import Plan
from nomagic.fitting import noise
from nomagic.words import Setup

MLP = described.restore({"name": "nomagic.parts.nets:mlp"})


def plan(task: str, metric: str = "") -> Plan:
    x = torch.randn(40, 3)
    y = {
        "classification": torch.arange(40) % 2,
        "regression": torch.randn(40),
        "binary": (torch.arange(40) % 2).float(),
    }[task]
    return Plan(Setup((x, y), MLP, metric=metric))


def answers(right: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of two classes that are right where asked, and targets."""
    targets = torch.arange(len(right)) % 2
    said = torch.where(right, targets, 1 - targets)
    return torch.nn.functional.one_hot(said, 2).double() * 4, targets


def test_no_error_at_all_is_no_certainty():
    outputs, targets = answers(torch.ones(27, dtype=torch.bool))
    found = noise.score(plan("classification"), outputs, targets)
    assert found.value == found.high == 1.0
    assert 0.85 < found.low < 0.9
    gap, low, high = noise.difference(plan("classification"), outputs, outputs, targets)
    assert gap == 0
    assert low < -0.05 < 0.05 < high


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_intervals_of_scores_cover_the_truth(metric: str):
    asked, random = plan("classification", metric), torch.Generator().manual_seed(0)
    truth = {"accuracy": 0.9, "loss": None}[metric]
    covered, repeats, count = 0, 200, 60
    if truth is None:
        right = torch.rand(200_000, generator=random) < 0.9
        truth = noise.metrics(asked, *answers(right))["loss"]
    for _ in range(repeats):
        found = noise.score(asked, *answers(torch.rand(count, generator=random) < 0.9))
        covered += found.low <= truth <= found.high
    assert covered / repeats > 0.88


def test_intervals_of_differences_cover_no_difference():
    asked, random = plan("classification"), torch.Generator().manual_seed(1)
    covered, repeats = 0, 300
    for _ in range(repeats):
        one, other = (answers(torch.rand(50, generator=random) < 0.85) for _ in range(2))
        _, low, high = noise.difference(asked, one[0], other[0], one[1])
        covered += low <= 0 <= high
    assert 0.92 < covered / repeats <= 1.0


def test_better_is_above_zero_whatever_the_direction():
    good, targets = answers(torch.arange(200) % 10 > 0)
    bad, _ = answers(torch.arange(200) % 10 > 3)
    for metric in ("accuracy", "error", "loss", "f1"):
        gap, low, high = noise.difference(plan("classification", metric), good, bad, targets)
        assert low <= gap <= high
        assert gap > 0, metric


@pytest.mark.parametrize("metric", ["r2", "mse", "mae", "rmse"])
def test_numbers_have_intervals(metric: str):
    y = torch.randn(300, generator=torch.Generator().manual_seed(0))
    outputs = (y + 0.3 * torch.randn(300, generator=torch.Generator().manual_seed(1)))[:, None]
    found = noise.score(plan("regression", metric), outputs, y)
    assert found.low < found.value < found.high
    assert math.isfinite(found.error)
    worse = outputs + 0.5
    gap, low, _ = noise.difference(plan("regression", metric), outputs, worse, y)
    assert gap > low > 0
