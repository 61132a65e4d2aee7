"""Boosted trees as tensors, and their votes beside the networks of a table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor, nn

from nomagic.engine import plain
from nomagic.engine.plan import Plan
from nomagic.fitting import forest, run, saved
from nomagic.fitting.export import export
from nomagic.fitting.fitted import Fitted
from nomagic.fitting.forest import Forest, ForestError
from nomagic.fitting.stages import blend
from nomagic.parts import nets
from nomagic.parts.presets.plain import Linear, Mlp
from nomagic.words import Form, Setup

NUMBERS = torch.randn(2_000, 6, generator=torch.Generator().manual_seed(0))
NUMBERS[:, 3] = NUMBERS[:, 3].round()
CURVED = NUMBERS[:, 0] * NUMBERS[:, 1] + NUMBERS[:, 2].sign()


def regressor(rounds: int = 40) -> Any:
    model = HistGradientBoostingRegressor(max_iter=rounds)
    return model.fit(NUMBERS.numpy(), CURVED.numpy())


def classes(y: Tensor) -> Any:
    return HistGradientBoostingClassifier(max_iter=15).fit(NUMBERS.numpy(), y.numpy())


def test_numbers_are_those_of_scikit_learn():
    model = regressor()
    found = forest.of(model, 1)(NUMBERS)[:, 0].double().numpy()
    assert np.abs(found - model.predict(NUMBERS.numpy())).max() < 1e-5


def test_inputs_at_a_threshold_go_the_same_way():
    model = regressor()
    grown = forest.of(model, 1)
    edges = grown.threshold[grown.threshold.isfinite()]
    places = grown.feature[grown.threshold.isfinite()]
    x = NUMBERS[:1].repeat(len(edges), 1)
    for moved in (edges, edges.nextafter(torch.tensor(torch.inf))):
        x[torch.arange(len(edges)), places] = moved
        found = grown(x)[:, 0].double().numpy()
        assert np.abs(found - model.predict(x.numpy())).max() < 1e-5


@pytest.mark.parametrize(
    ("y", "outputs"),
    [
        (torch.bucketize(CURVED, torch.tensor([-1.0, 0.0, 1.0])), 4),
        ((CURVED > 0).long(), 2),
        (2 * (CURVED > 0).long() + 1, 5),
        (torch.bucketize(CURVED, torch.tensor([-1.0, 1.0])) + 1, 5),
    ],
    ids=["four", "two", "two of five", "three of five"],
)
def test_probabilities_are_those_of_scikit_learn(y: Tensor, outputs: int):
    model = classes(y)
    found = forest.of(model, outputs, model.classes_)(NUMBERS).softmax(-1)
    known = found[:, model.classes_].double().numpy()
    assert np.abs(known - model.predict_proba(NUMBERS.numpy())).max() < 1e-4
    assert float(1 - found[:, model.classes_].sum(1).min()) < 1e-4


def test_yes_or_no_has_one_logit():
    model = classes((CURVED > 0).float())
    found = forest.of(model, 1)(NUMBERS)[:, 0].sigmoid().double().numpy()
    assert np.abs(found - model.predict_proba(NUMBERS.numpy())[:, 1]).max() < 1e-5


def test_several_forests_are_their_mean():
    each = [forest.of(regressor(rounds), 1) for rounds in (1, 7, 30)]
    wanted = torch.stack([one(NUMBERS) for one in each]).mean(0)
    assert torch.allclose(forest.joined(each)(NUMBERS), wanted, atol=1e-5)


def test_a_forest_without_trees_is_its_base():
    model = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=2_000)
    grown = forest.of(model.fit(NUMBERS.numpy(), CURVED.numpy()), 1)
    assert grown.depth == 0
    assert torch.allclose(grown(NUMBERS), CURVED.mean().expand(2_000, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("right", lambda t: t - 5),
        ("right", lambda t: t + 5),
        ("root", lambda t: t + 10**6),
        ("output", lambda t: t + 1),
        ("feature", lambda t: t[:-1]),
        ("feature", lambda t: t - 1),
        ("threshold", lambda t: t.nan_to_num(nan=0.0)),
        ("base", None),
    ],
)
def test_tensors_that_are_no_forest(name: str, change: Any):
    tensors = dict(forest.of(regressor(), 1).named_buffers())
    given = tensors.pop(name)
    if change:
        tensors[name] = change(given)
    with pytest.raises(ForestError, match="forest"):
        Forest(tensors)


# -- in a model -----------------------------------------------------------------------------------


def housed(form: Form) -> nn.Module:
    return nets.mlp(form, width=8, depth=1)


def mixed() -> tuple[Plan, Fitted]:
    setup = Setup((NUMBERS, CURVED), partial(nets.mlp, width=8, depth=1), epochs=1, members=2)
    plan = Plan(setup)
    networks = [plain.fit(plan, member).model for member in plan.members([0])]
    found = Fitted.of(plan, 0, networks)
    return plan, replace(found, forest=forest.of(regressor(), 1), votes=6)


def test_votes_count_as_members():
    _, model = mixed()
    each = model.members(NUMBERS)
    assert len(each) == 8
    assert bool((each[2:] == each[2]).all())
    mean, spread = model.predict(NUMBERS)
    wanted = (each[0] + each[1] + 6 * each[2]) / 8
    assert torch.allclose(torch.from_numpy(mean), wanted.flatten(), atol=1e-5)
    assert float(spread.min()) > 0
    assert model.alone.members(NUMBERS).shape[0] == 1
    assert model.bytes > 10 * model.alone.bytes


def test_trees_are_saved_without_pickle_and_come_back(tmp_path: Path):
    _, model = mixed()
    saved.save(model, tmp_path)
    again = saved.load(tmp_path)
    assert again.votes == 6
    assert torch.equal(again.members(NUMBERS), model.members(NUMBERS))
    card = (tmp_path / "README.md").read_text()
    assert "40 boosted trees, with 6 of 8 votes" in card


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_trees_are_exported(kind: Any, tmp_path: Path):
    _, model = mixed()
    made = export(model, kind, tmp_path / "model", NUMBERS[:50])
    assert made.difference < 1e-3


# -- in a fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "served"),
    [
        (Form("regression", (6,), 1), True),
        (Form("classification", (6,), 4), True),
        (Form("binary", (6,), 1), True),
        (Form("regression", (6,), 2), False),
        (Form("multi-label", (6,), 3), False),
        (Form("classification", (1, 8, 8), 10), False),
        (Form("classification", (9,), 2, tokens=5), False),
    ],
)
def test_trees_are_for_tables_with_one_target(form: Form, served: bool):
    assert (not forest.reason(Setup("", Mlp(4, 1)), form)) == served


def steps(x: Tensor) -> Tensor:
    """What trees are good at and networks are not."""
    return (3 * x[:, 0]).floor().remainder(2) + 2 * (x[:, 1] > 0.3) - 1.5 * (x[:, 2] < -0.7)


def test_trees_vote_where_they_are_better(tmp_path: Path):
    x = torch.rand(1_500, 5, generator=torch.Generator().manual_seed(0)) * 4 - 2
    setup = Setup((x, steps(x)), Mlp(16, 1), name="steps", epochs=5)
    skip = ("overfit", "regularise", "transfer", "tune", "growth")
    fit = run.run(setup, budget="20s", out=tmp_path / "out", skip=skip, members=2)
    known = {stage.name: stage for stage in fit.stages}
    numbers = known["blend"].numbers
    assert numbers["votes"] > 0
    assert numbers["gain"]["low"] > 0
    assert "votes" in known["blend"].says[0]
    names = [one["name"] for one in known["shrink"].numbers["candidates"]]
    assert "networks without trees" in names
    model = saved.load(tmp_path / "out")
    assert model.votes == numbers["votes"]
    mean, _ = model.predict(x)
    error = float((torch.from_numpy(mean) - steps(x)).square().mean())
    alone, _ = replace(model, forest=None, votes=0).predict(x)
    assert error < float((torch.from_numpy(alone) - steps(x)).square().mean()) / 2


def test_trees_that_bring_nothing_stay_out(tmp_path: Path):
    x = torch.randn(600, 5, generator=torch.Generator().manual_seed(1))
    y = x @ torch.tensor([1.0, -2.0, 0.5, 3.0, 0.1])
    setup = Setup((x, y), Linear(), name="straight", epochs=60, batch_size=32, rate=10.0)
    skip = ("overfit", "regularise", "transfer", "tune", "growth")
    fit = run.run(setup, budget="20s", out=tmp_path / "out", skip=skip, members=2)
    known = {stage.name: stage for stage in fit.stages}
    assert known["blend"].numbers["votes"] == 0
    assert saved.load(tmp_path / "out").forest is None


def test_a_network_of_ones_own_stays_alone(tmp_path: Path):
    setup = Setup((NUMBERS, CURVED), housed, name="own", epochs=1)
    skip = ("regularise", "transfer", "tune", "shrink", "growth")
    fit = run.run(setup, budget="10s", out=tmp_path / "out", skip=skip, members=1)
    (stage,) = (one for one in fit.stages if one.name == "blend")
    assert "stays alone" in stage.skipped


def noisy(y: Tensor, error: float, seed: int) -> Tensor:
    return y + error * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))


def blended(alone: Tensor, trees: Tensor) -> dict[int, Tensor]:
    return {votes: (5 * alone + votes * trees) / (5 + votes) for votes in (0, 1, 2, 5, 10, 20)}


@pytest.mark.parametrize(
    ("networks", "trees", "votes"),
    [(0.3, 0.3, {5}), (0.3, 5.0, {0}), (0.3, 0.4, {2, 5}), (1.0, 0.05, {20})],
    ids=["as good", "far worse", "a little worse", "far better"],
)
def test_votes_are_equal_unless_the_samples_say_otherwise(
    networks: float, trees: float, votes: set[int]
):
    y = torch.randn(800, 1, generator=torch.Generator().manual_seed(0))
    plan = Plan(Setup((NUMBERS[:800], y[:, 0]), Mlp(4, 1)))
    mixed = blended(noisy(y, networks, 1), noisy(y, trees, 2))
    assert blend._votes(plan, mixed, y[:, 0], 5) in votes


def test_few_samples_give_trees_no_votes_by_luck():
    given = 0
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        y = (torch.rand(40, generator=random) < 0.5).float()
        plan = Plan(Setup((NUMBERS[:40], y), Mlp(4, 1), held_out=0.5))
        alone, trees = torch.randn(2, 40, 1, generator=random)
        mixed = blended(2 * y[:, None] - 1 + alone, 2 * y[:, None] - 1 + 10 * trees)
        given += blend._votes(plan, mixed, y, 5) > 0
    assert given <= 2


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("task", ["classification", "binary"])
def test_classes_of_a_table(task: str, members: int, tmp_path: Path):
    x = torch.rand(900, 4, generator=torch.Generator().manual_seed(0)) * 4 - 2
    y = steps(x) > 0.5
    target = y.float() if task == "binary" else y.long() + (x[:, 3] > 1).long()
    setup = Setup((x, target), Mlp(8, 1), name="steps", epochs=3)
    skip = ("overfit", "regularise", "transfer", "tune", "growth")
    fit = run.run(setup, budget="15s", out=tmp_path / "out", skip=skip, members=members)
    known = {stage.name: stage for stage in fit.stages}
    assert known["blend"].numbers["votes"] > 0
    model = saved.load(tmp_path / "out")
    assert model.form.task == task
    mean, _ = model.predict(x)
    assert mean.shape == ((900,) if task == "binary" else (900, 3))
    assert fit.score["accuracy"] > 0.85
    names = [one["name"] for one in known["shrink"].numbers["candidates"]]
    assert len(names) == len(set(names))
    assert ("networks without trees" in names) == (members > 1)


def test_a_class_that_is_only_held_out_is_no_stumbling_block(tmp_path: Path):
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    y[300:] = 2
    setup = Setup((x, y), Mlp(8, 1), name="late", epochs=2, split="time")
    skip = ("overfit", "regularise", "transfer", "tune", "growth", "shrink")
    fit = run.run(setup, budget="8s", out=tmp_path / "out", skip=skip, members=1, test=0.0)
    (stage,) = (one for one in fit.stages if one.name == "blend")
    assert "lack the classes" in stage.skipped


def absolute(output: Tensor, target: Tensor) -> Tensor:
    return (output.flatten() - target).abs().mean()


def test_a_loss_of_ones_own_keeps_trees_away():
    setup = Setup((NUMBERS, CURVED), Mlp(8, 1), loss=absolute)
    assert "your loss" in forest.reason(setup, Form("regression", (6,), 1))
