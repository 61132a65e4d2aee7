"""Metrics against scikit-learn; intervals, temperature and threshold against simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binom
from sklearn import metrics
from torch import Tensor, nn

from nomagic.datasets import data
from nomagic.fitting import dropout, quality, trust
from nomagic.words import Form, NotApplicable, Stage, Task


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(count: int, seed: int = 0, sharpness: float = 1.5) -> tuple[Tensor, Tensor]:
    """Logits (1, count, 5) that are exactly calibrated, and classes drawn from them."""
    logits = sharpness * torch.randn(count, 5, generator=random(seed), dtype=torch.float64)
    drawn = torch.multinomial(logits.softmax(-1), 1, generator=random(seed + 1))[:, 0]
    return logits[None], drawn


def test_numbers_agree_with_scikit_learn():
    outputs, targets = classes(500)
    found = quality.judge(outputs, targets, "classification").numbers
    chance = outputs[0].softmax(-1)
    right = (chance.argmax(-1) == targets).numpy()
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["nll"] == pytest.approx(metrics.log_loss(targets, chance))
    squares = (chance - F.one_hot(targets, 5)).square().sum(-1).mean()
    assert found["brier"] == pytest.approx(float(squares))
    confidence = chance.amax(-1)
    assert found["detection"] == pytest.approx(metrics.roc_auc_score(right, confidence))
    assert found["bits"] == pytest.approx(found["nll"] / math.log(2))


def test_yes_or_no_agrees_with_scikit_learn():
    logits = torch.randn(400, generator=random()).double()
    targets = (torch.rand(400, generator=random(1)) < logits.sigmoid()).float()
    found = quality.judge(logits[None, :, None], targets, "binary").numbers
    assert found["nll"] == pytest.approx(metrics.log_loss(targets, logits.sigmoid()))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(targets, logits.sigmoid()))
    assert found["accuracy"] == pytest.approx(
        float(((logits > 0) == (targets > 0.5)).float().mean())
    )


def test_labels_and_tokens_are_decisions_of_their_own():
    labels = quality.judge(torch.zeros(2, 7, 3), torch.ones(7, 3), "multi-label")
    assert labels.samples == 21
    assert labels.numbers["nll"] == pytest.approx(math.log(2))
    tokens = quality.judge(torch.zeros(2, 7, 4, 8), torch.ones(7, 4).long(), "sequence")
    assert tokens.samples == 28
    assert tokens.numbers["bits"] == pytest.approx(3)


def test_the_prediction_is_that_of_the_mean_probability():
    outputs = torch.tensor([[[4.0, 0.0]], [[0.0, 1.0]]])
    found = quality.judge(outputs, torch.tensor([0]), "classification").numbers
    assert found["nll"] == pytest.approx(
        -math.log(float(outputs.softmax(-1).mean(0)[0, 0])), rel=1e-6
    )


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_temperature_finds_how_overconfident_logits_are(truth: float):
    outputs, targets = classes(4000)
    assert quality.temperature(outputs * truth, targets, "classification") == pytest.approx(
        truth, rel=0.08
    )


def test_temperature_lowers_the_loss_on_new_data():
    outputs, targets = classes(6000)
    outputs = 3 * outputs
    found = quality.temperature(outputs[:, :3000], targets[:3000], "classification")
    rest = outputs[:, 3000:], targets[3000:], "classification"
    before, after = quality.judge(*rest).numbers, quality.judge(*rest, temperature=found).numbers
    assert after["nll"] < before["nll"] - 0.5
    assert after["ece"] < before["ece"] / 4
    assert after["accuracy"] == before["accuracy"]


def test_temperature_stays_modest_where_all_answers_are_right():
    outputs, _ = classes(300)
    targets = outputs[0].argmax(-1)
    found = quality.temperature(outputs, targets, "classification")
    assert quality.COLDEST < found < 1
    assert not quality.at_end(found)
    sure = quality.judge(outputs, targets, "classification", found).numbers["confidence"]
    assert sure < 1 - 0.5 / 300


def test_temperature_of_nonsense_is_at_the_end():
    outputs = 500 * torch.randn(1, 2000, 5, generator=random())
    targets = torch.randint(5, (2000,), generator=random(1))
    found = quality.temperature(outputs, targets, "classification")
    assert quality.at_end(found)
    assert found == pytest.approx(quality.HOTTEST, rel=1e-3)


def test_temperature_of_equal_logits_is_one():
    assert quality.temperature(torch.zeros(1, 9, 3), torch.arange(9) % 3, "classification") == 1


def test_calibration_error_by_chance_is_what_simulation_gives():
    errors, expected = [], []
    for seed in range(0, 80, 2):
        found = quality.judge(*classes(400, seed), "classification").numbers
        errors.append(found["ece"])
        expected.append(found["ece_by_chance"])
    mean = sum(errors) / len(errors)
    assert sum(expected) / len(expected) == pytest.approx(mean, rel=0.12)


def test_bins_count_every_prediction_once():
    outputs, targets = classes(700)
    bins = quality.judge(outputs, targets, "classification").bins
    assert sum(one.count for one in bins) == 700
    assert all(one.low <= one.accuracy <= one.high for one in bins)
    assert all(a.confidence < b.confidence for a, b in itertools.pairwise(bins))


def test_decisions_that_come_together_count_less():
    whole = (torch.rand(200, generator=random()) < 0.3).double().repeat_interleave(50)
    low, high = quality.interval(whole, each=50)
    alone = quality.interval(whole)
    once = quality.wilson(float(whole[::50].sum()), 200)
    assert high - low == pytest.approx(once[1] - once[0], rel=0.02)
    assert alone[1] - alone[0] < (high - low) / 5


def test_abstention_leaves_the_least_confident_out():
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6])
    wrong = torch.tensor([0.0, 0.0, 0.0, 1.0])
    curve = quality.abstention(confidence, wrong)
    assert [(one.coverage, one.error) for one in curve] == [
        (0.25, 0),
        (0.5, 0),
        (0.75, 0),
        (1, 0.25),
    ]
    assert quality.area(confidence, wrong) == 0.25 / 4
    tied = quality.abstention(torch.ones(4), wrong)
    assert [one.error for one in tied] == [0.25] * 4


def graded(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Confidence uniform in 0.5 to 1, and answers that are right so often."""
    confidence = 0.5 + 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)
    right = torch.rand(count, generator=generator, dtype=torch.float64) < confidence
    return confidence, right.double()


def test_a_threshold_keeps_its_promise():
    """Answers above t are wrong in (1 - t) / 2 of the cases; t must be 0.8 or more for 10 %."""
    generator = random()
    cuts = [quality.threshold(*graded(1500, generator), error=0.1) for _ in range(400)]
    broken = sum(cut is not None and cut < 0.8 for cut in cuts)
    assert broken <= binom.ppf(0.999, len(cuts), 0.05)
    found = sorted(cut for cut in cuts if cut is not None)
    assert len(found) > 0.9 * len(cuts)
    assert found[len(found) // 2] < 0.88


def test_a_threshold_says_when_it_cannot_promise():
    confidence, right = graded(2000, random())
    assert quality.threshold(confidence, right, error=0.001) is None
    assert quality.threshold(confidence[:20], right[:20], error=0.1) is None
    assert quality.threshold(confidence, right, error=0.4) == -math.inf


def test_a_threshold_bears_ties():
    confidence = torch.tensor([1.0] * 600 + [0.6] * 400)
    right = torch.tensor([1.0] * 600 + [0.0, 1.0] * 200)
    cut = quality.threshold(confidence, right, error=0.05)
    assert cut == pytest.approx(0.6)


def numbers(count: int, generator: torch.Generator, members: int = 4) -> tuple[Tensor, Tensor]:
    """Predictions (members, count) of targets whose noise grows with the networks' spread."""
    scale = 0.2 + torch.rand(count, generator=generator, dtype=torch.float64)
    outputs = scale * torch.randn(members, count, generator=generator, dtype=torch.float64)
    targets = 2 * scale * torch.randn(count, generator=generator, dtype=torch.float64)
    return outputs, targets


def test_intervals_cover_as_often_as_they_say():
    generator, covered = random(), []
    for _ in range(200):
        known = quality.noise(*numbers(150, generator))
        covered.append(
            quality.judge(*numbers(500, generator), "regression", noise=known).numbers["coverage"]
        )
    mean = sum(covered) / len(covered)
    assert 0.895 <= mean <= 0.92


def test_few_validation_samples_give_no_finite_interval():
    known = quality.noise(*numbers(8, random()))
    assert known.reach == (math.inf,)


def test_numbers_of_a_regression():
    generator = random()
    outputs, targets = numbers(400, generator)
    found = quality.judge(outputs, targets, "regression").numbers
    mean = outputs.mean(0)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(targets, mean))
    assert found["r2"] == pytest.approx(metrics.r2_score(targets, mean))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, mean))
    assert found["detection"] > 0.55
    alone = quality.judge(outputs[:1], targets, "regression").numbers
    assert "spread" not in alone


def test_several_targets_have_their_own_noise():
    outputs = torch.zeros(1, 500, 2)
    targets = torch.randn(500, 2, generator=random()) * torch.tensor([1.0, 10.0])
    known = quality.noise(outputs, targets)
    assert known.variance[1] / known.variance[0] == pytest.approx(100, rel=0.3)
    _, low, high = quality.bounds(outputs, known)
    assert low.shape == high.shape == (500, 2)


def test_networks_that_agree_have_no_information():
    agreed = torch.tensor([[[2.0, 0.0]]]).repeat(3, 1, 1)
    found = quality.uncertainty(agreed, "classification")
    assert found.information is not None
    assert found.entropy is not None
    assert float(found.information) == pytest.approx(0, abs=1e-9)
    assert float(found.entropy) > 0.3
    torn = torch.tensor([[40.0], [-40.0]])
    found = quality.uncertainty(torn, "binary")
    assert found.information is not None
    assert float(found.information) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("outputs", "targets", "task"),
    [
        (torch.zeros(2, 5, 3), torch.zeros(4).long(), "classification"),
        (torch.zeros(5, 3), torch.zeros(5).long(), "classification"),
        (torch.zeros(2, 5, 3), torch.zeros(5, 2), "multi-label"),
        (torch.zeros(2, 0, 3), torch.zeros(0).long(), "classification"),
        (torch.full((2, 5), math.nan), torch.zeros(5), "regression"),
    ],
)
def test_what_does_not_fit_is_said(outputs: Tensor, targets: Tensor, task: str):
    with pytest.raises(quality.QualityError):
        quality.judge(outputs, targets, task)


# -- dropout ----------------------------------------------------------------------------------


def dropped(rate: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(rate), nn.Linear(32, 3)
    )


def test_only_dropout_is_switched_on():
    model, x = dropped().train(), torch.randn(50, 6, generator=random())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = dropout.passes(model, x, count=4, seed=1)
    assert isinstance(found, Tensor)
    assert found.shape == (4, 50, 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    again = dropout.passes(model, x, count=4, seed=1)
    assert isinstance(again, Tensor)
    assert torch.equal(found, again)


def test_answers_do_not_hang_on_their_neighbours():
    """The mean over many passes is that of one input alone, which batch statistics would break."""
    model, x = dropped(), torch.randn(40, 6, generator=random())
    together = dropout.passes(model, x, count=2000)
    alone = dropout.passes(model, x[:1], count=2000, seed=5)
    assert isinstance(together, Tensor)
    assert isinstance(alone, Tensor)
    error = together[:, 0].std(0) / math.sqrt(2000)
    assert bool(((together[:, 0].mean(0) - alone[:, 0].mean(0)).abs() < 6 * error).all())


def test_attention_and_recurrent_layers_drop_too():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True).eval()
    found = dropout.passes(layer, torch.randn(3, 5, 8, generator=random()), count=3)
    assert isinstance(found, Tensor)
    attention = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
    assert dropout.switches(attention) == [attention]
    assert dropout.switches(nn.LSTM(4, 4, num_layers=2, dropout=0.2))
    assert not dropout.switches(nn.LSTM(4, 4, num_layers=2))


class Functional(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.layer, self.rate = nn.Linear(6, 3), rate

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), p=self.rate, training=self.training)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(6, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Linear(6, 3), "no dropout"),
        (dropped(0.0), "no dropout"),
        (Functional(0.0), "no dropout"),
        (Functional(0.5), "nn.Dropout"),
        (Unused(), "do not change"),
    ],
)
def test_networks_without_dropout_are_told(model: nn.Module, reason: str):
    found = dropout.passes(model, torch.randn(4, 6), count=3)
    assert isinstance(found, NotApplicable)
    assert reason in found.reason


# -- trust ------------------------------------------------------------------------------------


def told(form: Form, members: nn.ModuleList, x: Tensor, y: Tensor, **given: Any) -> Stage:
    def predict(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([one.eval()(inputs) for one in members])

    half = len(x) // 2
    return trust.evidence(form, predict, x[:half], y[:half], x[half:], y[half:], **given)


def trained(make: Callable[[], nn.Module], x: Tensor, y: Tensor, loss: Any) -> nn.ModuleList:
    members = nn.ModuleList()
    for seed in range(3):
        torch.manual_seed(seed)
        model = make()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        members.append(model)
    return members


def test_evidence_of_images():
    digits = data("digits")
    x, y = digits.batch(torch.randperm(len(digits), generator=random()))
    members = trained(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10)
        ),
        x[:600],
        y[:600],
        F.cross_entropy,
    )
    drop = partial(dropout.passes, members[0], count=8)
    stage = told(digits.form, members, x[600:], y[600:], dropout=drop, wrong=0.05)
    numbers = stage.numbers
    shifted = {(one["name"], one["severity"]): one["numbers"] for one in numbers["shifts"]}
    assert shifted["none", 0]["accuracy"] > 0.9 > shifted["move", 2]["accuracy"]
    assert numbers["lost"] > 0.1
    assert 0 < numbers["doubt"] < numbers["lost"]
    assert numbers["test"]["nll"] <= numbers["without_temperature"]["nll"] + 0.01
    assert numbers["without_temperature"]["nll"] < numbers["alone"]["nll"]
    assert isinstance(numbers["dropout"], dict)
    assert numbers["threshold"] is None or 0 < numbers["answered"] <= 1
    assert all(len(one.x) == len(one.y) for picture in stage.pictures for one in picture.series)
    reliability = stage.pictures[0]
    assert [one.kind for one in reliability.series] == ["guide", "points", "points"]
    text = " ".join(stage.says)
    assert "95 % interval" in text
    assert "3 networks together" in text
    assert "nan" not in text


def test_evidence_of_a_regression():
    x = torch.randn(900, 6, generator=random())
    y = x[:, 0] - x[:, 1].square() + 0.3 * torch.randn(900, generator=random(1))
    members = trained(
        lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0)),
        x[:400],
        y[:400],
        F.mse_loss,
    )
    form = Form("regression", (6,), 1)
    drop = partial(dropout.passes, members[0])
    stage = told(form, members, x[400:], y[400:], dropout=drop)
    assert stage.numbers["temperature"] == 1
    assert 0.83 < stage.numbers["test"]["coverage"] < 0.96
    assert "no dropout" in stage.numbers["dropout"]
    worst = min(one["numbers"]["coverage"] for one in stage.numbers["shifts"])
    assert worst < stage.numbers["test"]["coverage"] - 0.1
    assert "nan" not in " ".join(stage.says)


@pytest.mark.parametrize("task", ["binary", "multi-label", "sequence"])
def test_evidence_of_other_tasks(task: Task):
    outputs = {"binary": 1, "multi-label": 3, "sequence": 7}[task]
    torch.manual_seed(0)
    if task == "sequence":
        x = torch.randint(7, (60, 12))
        y = x.roll(-1, 1)
        make, form = partial(nn.Embedding, 7, 7), Form(task, (12,), 7, tokens=7)
    else:
        x = torch.randn(300, 4)
        y = (x[:, :outputs].squeeze(1) + 0.5 * torch.randn(300, outputs).squeeze(1) > 0).float()
        make, form = partial(nn.Linear, 4, outputs), Form(task, (4,), outputs)
    stage = told(form, nn.ModuleList([make(), make()]), x, y)
    assert len(stage.says) >= 5
    assert (stage.numbers["threshold"] is None) == (
        task != "binary" or "No threshold" in str(stage)
    )
    assert set(stage.numbers["test"]) >= {"nll", "ece", "aurc", "brier"}
