"""Small models: what they cost, which one is chosen, distillation and weights in 8 bits."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nomagic import setups
from nomagic.datasets import as_data
from nomagic.engine import plain, scores
from nomagic.engine.plan import Plan
from nomagic.fitting import saved, shrink
from nomagic.fitting.export import export
from nomagic.fitting.fitted import Fitted
from nomagic.fitting.saved import SavedModelError
from nomagic.fitting.shrink import Candidate, ShrinkError, Soft
from nomagic.parts import nets
from nomagic.words import Setup


def trained(plan: Plan, seed: int = 0) -> Fitted:
    return Fitted.of(plan, seed, [plain.fit(plan, one).model for one in plan.members([seed])])


# -- the frontier ---------------------------------------------------------------------------------

LARGE = Candidate("large", 0.95, 0.01, 4_000, 2.0, 20.0)
MIDDLE = Candidate("middle", 0.945, 0.01, 1_000, 1.0, 9.0)
SMALL = Candidate("small", 0.90, 0.02, 200, 0.1, 0.5)
WASTE = Candidate("waste", 0.89, 0.02, 900, 0.8, 8.0)
ALL = (LARGE, MIDDLE, SMALL, WASTE)


def test_the_smallest_within_one_standard_error_is_chosen():
    found = shrink.frontier(ALL)
    assert (found.best, found.chosen) == (LARGE, MIDDLE)
    assert "middle is within one standard error (0.01) of the best, large" in found.says[0]
    assert "4 times fewer bytes and 2 times less time" in found.says[0]
    closer = replace(LARGE, error=0.004)
    alone = shrink.frontier((closer, MIDDLE, SMALL))
    assert alone.chosen == closer
    assert alone.says == ("large is the smallest model that is as good as the best",)


def test_lower_may_be_better():
    errors = [replace(one, score=1 - one.score) for one in ALL]
    assert shrink.frontier(errors, "error", higher=False).chosen.name == "middle"


def test_limits_are_hard():
    assert shrink.frontier(ALL, max_bytes=999).chosen is SMALL
    assert shrink.frontier(ALL, max_ms=0.9).best is SMALL
    assert shrink.frontier(ALL, max_ms=0.9).says[0] == "2 of 4 models are too large"
    with pytest.raises(ShrinkError, match=r"within 100 bytes and 0.5 ms .*small, has 200 bytes"):
        shrink.frontier(ALL, max_bytes=100, max_ms=0.5)
    with pytest.raises(ShrinkError, match="no model to choose from"):
        shrink.frontier(())


def test_pictures_join_those_that_none_beats():
    size, speed = shrink.frontier(ALL, max_bytes=2_000).pictures
    assert size.series[0].x == (200, 1_000, 4_000)
    assert size.series[0].y == (0.90, 0.945, 0.95)
    assert {one.name for one in size.series[1:]} == {"large", "middle", "small", "waste", "limit"}
    assert size.log == "x"
    assert "small, middle, large" in size.says
    assert speed.series[0].x == (0.1, 1.0, 2.0)
    assert all(one.name != "limit" for one in speed.series)


def test_candidates_are_measured():
    plan = Plan(replace(setups.resolve("wine"), epochs=1))
    wide = Plan(replace(plan.setup, model=partial(nets.mlp, width=256)), plan.data)
    held = plan.data.subset(plan.part(0).held)
    models = {"small": trained(plan), "large": trained(wide)}
    small, large = shrink.measured(models, held)
    assert small.bytes == 4 * (13 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3)
    assert large.bytes > 10 * small.bytes
    assert 0 < small.single < small.batch * 5
    targets = held.batch(torch.arange(len(held)))[1]
    outputs = models["small"].outputs(held)
    wanted = scores.score(plan.setup, "classification", outputs, targets)
    assert small.score == wanted["accuracy"]
    assert small.error == pytest.approx(
        math.sqrt(small.score * (1 - small.score) / len(held)), rel=0.35, abs=0.01
    )


# -- distillation ---------------------------------------------------------------------------------


def test_the_loss_of_a_student():
    random = torch.Generator().manual_seed(0)
    output, teacher = torch.randn(2, 6, 4, generator=random)
    truth = torch.nn.functional.one_hot(torch.arange(6) % 4, 4).float()
    target = torch.stack([truth, (teacher / 2).softmax(-1)], 1)
    hard = torch.nn.functional.cross_entropy(output, torch.arange(6) % 4)
    assert torch.allclose(Soft("classification", 2.0, 0.0)(output, target), hard)
    student = output.clone().requires_grad_()
    Soft("classification", 2.0, 1.0)(student, target).backward()
    assert student.grad is not None
    wanted = 2 * ((output / 2).softmax(-1) - (teacher / 2).softmax(-1)) / 6
    assert torch.allclose(student.grad, wanted, atol=1e-6)
    numbers = torch.stack([torch.zeros(3), torch.ones(3)], 1)
    assert float(Soft("regression", 1.0, 0.5)(torch.zeros(3, 1), numbers)) == pytest.approx(0.25)


def test_a_student_says_what_its_teacher_says():
    setup = replace(setups.resolve("digits"), model=partial(nets.mlp, width=32), epochs=4)
    plan = Plan(replace(setup, members=5))
    teacher = trained(plan)
    alone = Plan(replace(setup, epochs=8), plan.data)
    student = shrink.distil(alone, 0, teacher, share=1.0)
    assert len(student.networks) == 1
    assert student.setup.loss is None
    x = plan.data.subset(plan.part(0).held)
    single = trained(alone)
    assert student.bytes * 5 == teacher.bytes
    far = [
        float((one.predict(x).mean - teacher.predict(x).mean).__abs__().sum(1).mean())
        for one in (student, single)
    ]
    assert far[0] < 0.6 * far[1]


@pytest.mark.parametrize("task", ["regression", "binary", "multi-label"])
def test_other_tasks_have_students(task: str):
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    y = {"regression": x[:, 0], "binary": (x[:, 0] > 0).float(), "multi-label": (x > 0).float()}
    plan = Plan(Setup((x, y[task].clone()), nets.mlp, epochs=2, members=2, batch_size=16))
    assert plan.form.task == task
    student = shrink.distil(Plan(replace(plan.setup, members=1), plan.data), 0, trained(plan))
    assert np.isfinite(student.predict(x).mean).all()


def test_what_cannot_be_distilled():
    x = torch.randint(5, (40, 7), generator=torch.Generator().manual_seed(0))
    make = partial(nets.Transformer, width=8, depth=1, heads=2)
    plan = Plan(Setup(as_data((x[:, :-1], x[:, 1:])), make, epochs=1, batch_size=8))
    with pytest.raises(ShrinkError, match="a model of tokens is not distilled"):
        shrink.distil(plan, 0, trained(plan))
    wine = Plan(replace(setups.resolve("wine"), epochs=1))
    with pytest.raises(ShrinkError, match="share is 2"):
        shrink.distil(wine, 0, trained(wine), share=2)


def test_the_share_of_the_gain_that_is_kept():
    assert shrink.kept(0.90, 0.93, 0.94) == pytest.approx(0.75)
    assert shrink.kept(0.10, 0.08, 0.06) == pytest.approx(0.5)
    assert math.isnan(shrink.kept(0.9, 0.9, 0.9))


# -- 8 bits ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", ["weights", "dynamic"])
def test_weights_in_8_bits(how: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    setup = replace(setups.resolve("digits"), model=partial(nets.mlp, width=64), epochs=5)
    plan = Plan(setup)
    fitted = trained(plan)
    held = plan.data.subset(plan.part(0).held)
    found = shrink.quantise(fitted, held, how)
    assert found.before == fitted.bytes
    assert 0.2 < found.after / found.before < 0.4
    assert abs(found.drop) < 0.02
    gap = np.abs(found.fitted.predict(held).mean - fitted.predict(held).mean)
    assert 0 < gap.max() < 0.1
    assert capfd.readouterr() == ("", "")
    with pytest.raises(SavedModelError, match="kept in 8 bits"):
        saved.save(found.fitted, tmp_path / "model")
    done = export(found.fitted, "torch", tmp_path / "model.pt2", held)
    assert done.difference < 1e-3


@pytest.mark.slow
def test_nothing_to_gain_from_8_bits():
    plan = Plan(replace(setups.resolve("digits"), model=nets.image_cnn, epochs=1))
    fitted = trained(plan)
    convolution = replace(fitted, networks=(torch.nn.Conv2d(1, 10, 8),))
    with pytest.raises(ShrinkError, match="no linear layer"):
        shrink.quantise(convolution, plan.data)
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    tiny = Plan(Setup((x, x[:, 0].clone()), nets.linear, epochs=1))
    with pytest.raises(ShrinkError, match="would not make the model smaller"):
        shrink.quantise(trained(tiny), tiny.data)


WITHOUT = """
import sys
sys.modules["torchao"] = None
sys.path.insert(0, sys.argv[1])
from test_shrink import trained, Plan, setups, replace, shrink
plan = Plan(replace(setups.resolve("wine"), epochs=1))
try:
    shrink.quantise(trained(plan), plan.data)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_missing_library_is_named():
    given = [sys.executable, "-c", WITHOUT, str(Path(__file__).parent)]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "ShrinkError torchao is not installed: pip install 'nomagic[quantise]'"
    )
