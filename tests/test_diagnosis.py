"""The trouble of real trainings is called by its name, and the rules hold at their edges."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nomagic.datasets import Data, data
from nomagic.engine import lasting, plain
from nomagic.engine.plan import Part, Plan
from nomagic.fitting import diagnosis
from nomagic.fitting.diagnosis import Curves, Diagnosis, Facts
from nomagic.words import Form, Setup, Task


def mlp(form: Form, width: int = 32) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, width), nn.ReLU(), nn.Linear(width, form.outputs)
    )


@torch.no_grad()
def scored(plan: Plan, model: nn.Module, part: Part, rows: Tensor) -> tuple[float, float]:
    outputs, y = plain.outputs_of(plan, model, replace(part, held=rows))
    return float(plan.loss(outputs, y)), float((outputs.argmax(-1) != y).double().mean())


def curves(given: Data, epochs: int, width: int = 32, rate: float = 0.01) -> Curves:
    plan = Plan(
        Setup(
            given,
            partial(mlp, width=width),
            optimizer=partial(torch.optim.Adam, lr=rate),
            epochs=epochs,
            batch_size=32,
        )
    )
    member = plan.members([0])[0]
    run = plain.Running(plan, member)
    rows: list[tuple[float, float, float, float]] = []
    for epoch in range(epochs):
        run.epoch(plan.batches(member, epoch))
        trained = scored(plan, run.model, run.part, run.part.train)
        rows.append((*trained, *scored(plan, run.model, run.part, run.part.held)))
    train, train_error, held, held_error = zip(*rows, strict=True)
    return Curves(train, held, train_error, held_error)


def digits(count: int = 1797, noisy: float = 0.0) -> Data:
    whole = data("digits")
    random = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(whole), generator=random)[:count]
    part = whole.subset(rows)
    assert part.y is not None
    other = torch.randint(10, (count,), generator=random)
    wrong = torch.rand(count, generator=random) < noisy
    return replace(part, y=torch.where(wrong, other, part.y))


FACTS = Facts(constant=0.9, half=0.02, constant_loss=math.log(10))


@pytest.mark.parametrize(
    ("trouble", "given", "facts"),
    [
        ("bias", {"given": digits(), "width": 2, "epochs": 30}, FACTS),
        ("variance", {"given": digits(120), "epochs": 40}, FACTS),
        ("both", {"given": digits(400, noisy=0.5), "epochs": 40, "width": 6}, FACTS),
        ("ceiling", {"given": digits(), "epochs": 30}, replace(FACTS, half=0.035)),
        ("unfinished", {"given": digits(), "epochs": 6, "rate": 2e-4}, FACTS),
        ("diverged", {"given": digits(), "epochs": 3, "rate": 1e18}, FACTS),
    ],
)
def test_trainings_are_called_by_their_trouble(trouble: str, given: Any, facts: Facts):
    found = diagnosis.diagnose(curves(**given), facts)
    assert found.trouble == trouble, found
    assert 0.5 <= found.confidence <= 1
    assert found.advice in found.says
    assert found.pictures or trouble == "diverged"


@pytest.mark.parametrize("task", ["classification", "regression", "sequence"])
def test_curves_of_the_engine_are_read(task: Task):
    kept = {"loss": [1.0, 0.5], "error": [0.3, 0.2], "rmse": [0.9, 0.8]}
    found = diagnosis.of(lasting.Curves([2.0, 1.0], kept, kept), task)
    assert found.held == (1.0, 0.5)
    wanted = {"classification": (0.3, 0.2), "regression": (0.9, 0.8), "sequence": (1.0, 0.5)}
    assert found.errors() == (wanted[task], wanted[task])


def read(train: list[float], held: list[float], **facts: Any) -> Diagnosis:
    return diagnosis.diagnose(Curves(tuple(train), tuple(held)), replace(FACTS, **facts))


def test_a_known_ceiling_is_no_bias():
    flat = [0.12] * 10
    assert read(flat, flat).trouble == "bias"
    assert read(flat, flat, floor=0.11).trouble == "ceiling"


def test_the_larger_part_of_what_is_left_names_the_trouble():
    assert read([0.10] * 9, [0.12] * 9).trouble == "bias"
    assert read([0.01] * 9, [0.12] * 9).trouble == "variance"
    assert read([0.06] * 9, [0.12] * 9).trouble == "both"
    assert read([0.06] * 9, [0.12] * 9, half=0.2).trouble == "ceiling"


def test_confidence_grows_with_the_samples():
    few, many = (read([0.01] * 9, [0.08] * 9, half=half) for half in (0.06, 0.01))
    assert few.trouble == many.trouble == "variance"
    assert 0.5 < few.confidence < 0.7 < 0.99 < many.confidence


def test_a_loss_that_rises_at_the_end_has_diverged():
    found = read([1.0, 0.3, 0.2, 2.4, 5.0], [1.0, 0.4, 0.3, 2.5, 5.2])
    assert found.trouble == "diverged"
    assert found.best == 3
    assert read([1.0, 0.3, math.nan], [1.0, 0.4, math.nan]).trouble == "diverged"


def test_onset_needs_three_evaluations_above_the_noise():
    train, held = [0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [1.0, 0.6, 0.5, 0.6, 0.65, 0.7]
    found = Curves(tuple(train), tuple(held))
    assert diagnosis.onset(found) == 3
    assert diagnosis.onset(found, half=0.15) is None
    assert diagnosis.onset(Curves(tuple(train[:5]), tuple(held[:5]))) is None
    assert diagnosis.onset(Curves((0.3,) * 6, tuple(held))) is None


def test_the_onset_says_whether_the_error_rises_too():
    train, held = (0.9, 0.5, 0.3, 0.2, 0.1, 0.05), (1.0, 0.6, 0.5, 0.6, 0.65, 0.7)
    calm = Curves(train, held, train, (0.3, 0.2, 0.15, 0.15, 0.14, 0.15))
    worse = Curves(train, held, train, (0.3, 0.2, 0.15, 0.17, 0.18, 0.2))
    assert "temperature" in " ".join(diagnosis.diagnose(calm, FACTS).says)
    assert "one to keep" in " ".join(diagnosis.diagnose(worse, FACTS).says)


def test_still_falling_is_a_share_of_the_loss():
    steep = tuple(0.9**i for i in range(20))
    slow = tuple(0.5 + 0.5 * 0.3**i for i in range(20))
    assert diagnosis.falling(Curves(steep, steep))
    assert not diagnosis.falling(Curves(slow, slow))
    assert diagnosis.falling(Curves((1.0, 0.5), (1.0, 0.5)))
    assert not diagnosis.falling(Curves((1.0,), (1.0,)))


def test_the_ladder_grows_only_beyond_the_noise():
    before = [0.90, 0.91, 0.89, 0.90]
    mean, noise = diagnosis.gain(before, [one + 0.02 for one in before])
    assert mean == pytest.approx(0.02)
    assert diagnosis.grows(0.90, 0.90 + mean, noise)
    mean, noise = diagnosis.gain(before, [0.93, 0.90, 0.88, 0.91])
    assert not diagnosis.grows(0.90, 0.90 + mean, noise)
    assert diagnosis.gain([0.9], [0.95])[1] == math.inf


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="epochs"):
        diagnosis.diagnose(Curves((1.0, 0.5), (1.0,)), FACTS)
    with pytest.raises(ValueError, match="epochs"):
        diagnosis.diagnose(Curves((), ()), FACTS)
