"""What the practices about losses say of small training steps, written in many styles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nomagic import checking

PRACTICES = [
    "logits-into-cross-entropy",
    "no-output-activation",
    "loss-shapes-match",
    "loss-at-init",
    "clip-gradients-not-loss",
    "bias-where-it-counts",
]


def train(model, loss, x, y, steps=4, rate=0.01):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()


def told(model, loss, x, y, **more):
    """The severity that each practice ends in, notes left out."""
    with checking.check(select=PRACTICES, experiments=False) as watched:
        train(model(), loss, x, y, **more)
    assert not [look for look in watched.record.looks if look.status == "could-not-look"]
    return {f.practice: f.severity for f in reversed(watched.findings) if f.severity != "note"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def net(*last, out=5):
    return lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, out), *last)


def onehot(y):
    return F.one_hot(y, 5).float()


def bce_by_hand(p, y):
    return -(y * torch.log(p + 1e-8) + (1 - y) * torch.log(1 - p + 1e-8)).mean()


X = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(64) % 5
BITS = (torch.arange(64) % 2).float()[:, None]
REAL = torch.randn(64, 1, generator=torch.Generator().manual_seed(2))
LOGITS = "logits-into-cross-entropy"
OUTPUT = "no-output-activation"
SHAPES = "loss-shapes-match"
START = "loss-at-init"
CLIP = "clip-gradients-not-loss"
ROWS = torch.arange(64)


class Squashed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(x).softmax(dim=-1)


class Focal(nn.Module):
    def forward(self, logits, y):
        ce = F.cross_entropy(logits, y, reduction="none")
        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()


def hinge(scores, y):
    right = scores.gather(1, y[:, None])
    return (scores - right + 1).clamp(min=0).mean()


def huber(p, y):
    error = (p - y).abs()
    small = torch.clamp(error, max=0.5)
    return (0.5 * small**2 + 0.5 * (error - small)).mean()


def ppo(logits, actions):
    logp = F.log_softmax(logits, -1)[ROWS, actions]
    ratio = torch.exp(logp - logp.detach() - 0.3)
    gain = torch.linspace(-1, 1, 64)
    return -torch.min(ratio * gain, torch.clamp(ratio, 0.8, 1.2) * gain).mean()


def pairwise(p, y):
    gram = (p[:, None] - p[None]).pow(2).sum(-1)
    near = (y[:, None] == y[None]).float()
    return (near * gram).mean() + (1 - near).mul(F.relu(1 - gram)).mean()


def distil(logits, _):
    soft = F.softmax(torch.randn(64, 5) * 2, -1)
    return F.kl_div(F.log_softmax(logits / 4, -1), soft, reduction="batchmean") + F.cross_entropy(
        logits, soft
    )


def quantiles(p, y):
    error = y - p
    q = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    return torch.max(q * error, (q - 1) * error).mean()


FAULTY = {
    "softmax layer": (net(nn.Softmax(1)), nn.CrossEntropyLoss(), CLASSES, {LOGITS: "fault"}),
    "softmax in forward": (Squashed, F.cross_entropy, CLASSES, {LOGITS: "fault"}),
    "softmax in the loop": (
        net(),
        lambda p, y: F.cross_entropy(torch.softmax(p, 1), y),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "softmax clamped": (
        net(nn.Softmax(1)),
        lambda p, y: F.cross_entropy(p.clamp(1e-7, 1), y),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "softmax by hand": (
        net(),
        lambda p, y: F.cross_entropy(p.exp() / p.exp().sum(1, keepdim=True), y),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "softmax, soft targets": (
        net(nn.Softmax(1)),
        lambda p, y: F.cross_entropy(p, onehot(y)),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "sigmoid before cross entropy": (
        net(nn.Sigmoid()),
        F.cross_entropy,
        CLASSES,
        {LOGITS: "fault"},
    ),
    "log softmax of softmax": (
        net(nn.Softmax(1)),
        lambda p, y: F.nll_loss(F.log_softmax(p, 1), y),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "softmax twice by hand": (
        net(nn.Softmax(1)),
        lambda p, y: -torch.log(p.softmax(1) + 1e-9)[ROWS, y].mean(),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "nll of probabilities": (net(nn.Softmax(1)), nn.NLLLoss(), CLASSES, {LOGITS: "fault"}),
    "nll of logits": (net(), nn.NLLLoss(), CLASSES, {LOGITS: "fault"}),
    "log softmax along the batch": (
        net(nn.LogSoftmax(0)),
        nn.NLLLoss(),
        CLASSES,
        {LOGITS: "warning"},
    ),
    "relu and dropout before cross entropy": (
        net(nn.ReLU(), nn.Dropout(0.1)),
        F.cross_entropy,
        CLASSES,
        {OUTPUT: "warning"},
    ),
    "sigmoid twice": (
        net(nn.Sigmoid(), out=1),
        nn.BCEWithLogitsLoss(),
        BITS,
        {LOGITS: "fault"},
    ),
    "sigmoid twice before bce": (
        net(nn.Sigmoid(), out=1),
        lambda p, y: F.binary_cross_entropy(torch.sigmoid(p), y),
        BITS,
        {LOGITS: "fault"},
    ),
    "kl of probabilities": (
        net(nn.Softmax(1)),
        lambda p, y: F.kl_div(p, onehot(y), reduction="batchmean"),
        CLASSES,
        {LOGITS: "fault"},
    ),
    "relu, negative targets": (net(nn.ReLU(), out=1), F.mse_loss, REAL, {OUTPUT: "fault"}),
    "relu, by hand": (
        net(nn.ReLU(), out=1),
        lambda p, y: ((p - y) ** 2).mean(),
        REAL,
        {OUTPUT: "fault"},
    ),
    "tanh, far targets": (net(nn.Tanh(), out=1), nn.SmoothL1Loss(), 3 * REAL, {OUTPUT: "fault"}),
    "sigmoid, standard scores": (net(nn.Sigmoid(), out=1), nn.L1Loss(), REAL, {OUTPUT: "fault"}),
    "relu before cross entropy": (net(nn.ReLU()), F.cross_entropy, CLASSES, {OUTPUT: "warning"}),
    "tanh before cross entropy": (net(nn.Tanh()), F.cross_entropy, CLASSES, {OUTPUT: "warning"}),
    "relu before log softmax": (
        net(nn.ReLU(), nn.LogSoftmax(1)),
        nn.NLLLoss(),
        CLASSES,
        {OUTPUT: "warning"},
    ),
    "relu before bce": (
        net(nn.ReLU(), out=1),
        nn.BCEWithLogitsLoss(),
        BITS,
        {OUTPUT: "fault"},
    ),
    "column against row": (net(out=1), nn.MSELoss(), REAL[:, 0], {SHAPES: "fault"}),
    "row against column": (
        net(nn.Flatten(0), out=1),
        F.huber_loss,
        REAL,
        {SHAPES: "fault"},
    ),
    "column against row by hand": (
        net(out=1),
        lambda p, y: ((y - p) ** 2).mean(),
        REAL[:, 0],
        {SHAPES: "fault"},
    ),
    "column against row, root": (
        net(out=1),
        lambda p, y: torch.sqrt(torch.mean(torch.square(p - y))),
        REAL[:, 0],
        {SHAPES: "fault"},
    ),
    "column against row, absolute": (
        net(out=1),
        lambda p, y: (p - y).abs().sum() / len(y),
        REAL[:, 0],
        {SHAPES: "fault"},
    ),
    "column against row, bce by hand": (
        net(nn.Sigmoid(), out=1),
        bce_by_hand,
        BITS[:, 0],
        {SHAPES: "fault"},
    ),
    "weights in a column": (
        net(),
        lambda p, y: (F.cross_entropy(p, y, reduction="none") * torch.rand(64, 1)).mean(),
        CLASSES,
        {SHAPES: "fault"},
    ),
    "large inputs": (
        lambda: nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5)),
        lambda p, y: F.cross_entropy(p, y, reduction="sum", label_smoothing=0.1),
        CLASSES,
        {START: "warning"},
    ),
    "clipped loss": (
        net(),
        lambda p, y: torch.clamp(F.cross_entropy(p, y), max=1.0),
        CLASSES,
        {CLIP: "fault"},
    ),
    "clipped losses": (
        net(),
        lambda p, y: F.cross_entropy(p, y, reduction="none").clamp(0, 1.6).mean(),
        CLASSES,
        {CLIP: "warning"},
    ),
    "clipped squares": (
        net(out=1),
        lambda p, y: ((p - y) ** 2).clamp(max=0.5).mean(),
        REAL,
        {CLIP: "warning"},
    ),
    "clipped differences": (
        net(out=1),
        lambda p, y: (p - y).clamp(-0.5, 0.5).pow(2).mean(),
        REAL,
        {CLIP: "warning"},
    ),
    "minimum with a constant": (
        net(),
        lambda p, y: (
            torch.minimum(F.cross_entropy(p, y), torch.tensor(1.0)) + 0.01 * p.pow(2).mean()
        ),
        CLASSES,
        {CLIP: "fault"},
    ),
}


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", FAULTY)
def test_faulty_steps_are_caught(name):
    model, loss, y, wanted = FAULTY[name]
    x = 300 * X.abs() if name == "large inputs" else X
    assert told(model, loss, x, y) == wanted


HEALTHY = {
    "plain": (net(), nn.CrossEntropyLoss(), CLASSES),
    "log softmax and nll": (net(nn.LogSoftmax(1)), nn.NLLLoss(), CLASSES),
    "log softmax twice": (net(nn.LogSoftmax(1)), nn.CrossEntropyLoss(), CLASSES),
    "log of softmax": (
        net(nn.Softmax(1)),
        lambda p, y: F.nll_loss(torch.log(p + 1e-9), y),
        CLASSES,
    ),
    "picked by hand": (
        net(nn.Softmax(1)),
        lambda p, y: -torch.log(p)[ROWS, y].mean(),
        CLASSES,
    ),
    "brier": (net(nn.Softmax(1)), lambda p, y: F.mse_loss(p, onehot(y)), CLASSES),
    "distillation": (net(), distil, CLASSES),
    "policy gradient": (
        net(),
        lambda p, a: -(torch.distributions.Categorical(logits=p).log_prob(a) * X[:, 0]).mean(),
        CLASSES,
    ),
    "nll of log-probabilities times gains": (
        net(nn.LogSoftmax(1)),
        lambda p, y: F.nll_loss(p * X[:, :1], y),
        CLASSES,
    ),
    "weighted and smoothed": (
        net(),
        nn.CrossEntropyLoss(weight=torch.tensor([50.0, 1, 1, 1, 1]), label_smoothing=0.2),
        CLASSES,
    ),
    "summed": (net(), nn.CrossEntropyLoss(reduction="sum"), CLASSES),
    "ignored": (net(), nn.CrossEntropyLoss(ignore_index=0), CLASSES),
    "focal": (net(), Focal(), CLASSES),
    "hinge": (net(), hinge, CLASSES),
    "capped logits": (net(), lambda p, y: F.cross_entropy(30 * torch.tanh(p / 30), y), CLASSES),
    "sigmoid and bce": (net(nn.Sigmoid(), out=1), nn.BCELoss(), BITS),
    "bce by hand": (net(nn.Sigmoid(), out=1), bce_by_hand, BITS),
    "clamped before log": (
        net(nn.Sigmoid(), out=1),
        lambda p, y: bce_by_hand(p.clamp(0.3, 0.6), y),
        BITS,
    ),
    "softplus on noisy positives": (
        net(nn.Softplus(), out=1),
        nn.MSELoss(),
        REAL.abs().sub(0.3).relu() + 0.02 * REAL,
    ),
    "tanh on [-1, 1]": (net(nn.Tanh(), out=1), nn.MSELoss(), REAL.tanh()),
    "huber by hand": (net(out=1), huber, REAL),
    "mean of the scalar": (net(out=1), lambda p, y: ((p - y.mean()) ** 2).mean(), REAL),
    "quantiles": (net(), quantiles, REAL),
    "weights in columns": (
        net(),
        lambda p, y: (torch.rand(64, 1) * F.mse_loss(p, onehot(y), reduction="none")).mean(),
        CLASSES,
    ),
    "table on purpose": (
        net(nn.Flatten(0), out=1),
        lambda p, y: (p[:, None] - y).abs().mean() - (p[:, None] - p).abs().mean() / 2,
        REAL[:, 0],
    ),
    "pairs": (net(), pairwise, CLASSES),
    "ppo": (net(), ppo, CLASSES),
    "loose limit": (net(), lambda p, y: F.cross_entropy(p, y).clamp(max=100), CLASSES),
    "free bits": (
        net(out=1),
        lambda p, y: F.mse_loss(p, y, reduction="none").clamp(min=0.1).mean(),
        REAL,
    ),
    "large targets": (net(out=1), nn.MSELoss(), 300 * REAL + 1000),
    "small targets": (net(out=1), nn.MSELoss(), 0.001 * REAL),
    "zero targets": (net(out=1), nn.MSELoss(), 0 * REAL),
    "leaky output": (net(nn.LeakyReLU(), out=1), nn.MSELoss(), REAL),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_steps_are_silent(name):
    model, loss, y = HEALTHY[name]
    rate = 1e-7 if name == "large targets" else 1e-3
    assert told(model, loss, X, y, rate=rate) == {}


def test_floor_of_the_loss_is_said():
    with checking.check(select=[LOGITS], experiments=False) as watched:
        train(net(nn.Softmax(1))(), F.cross_entropy, X, CLASSES)
    assert f"cannot fall below {math.log(1 + 4 / math.e):.3f}" in watched.findings[0].seen


def test_softmax_only_in_evaluation_is_silent():
    with checking.check(select=[LOGITS], experiments=False) as watched:
        model = net()()
        train(model, F.cross_entropy, X, CLASSES)
        with torch.no_grad():
            assert model(X).softmax(1).max() < 1
    assert not watched.findings


def test_evaluation_loss_of_probabilities_is_a_warning():
    with checking.check(select=[LOGITS], experiments=False) as watched:
        model = net()()
        train(model, F.cross_entropy, X, CLASSES)
        with torch.no_grad():
            F.cross_entropy(model(X).softmax(1), CLASSES)
    assert [finding.severity for finding in watched.findings] == ["warning"]


def test_loaded_weights_may_start_anywhere():
    with checking.check(select=[START], experiments=False) as watched:
        model = net()()
        model.load_state_dict({k: 30 * v for k, v in model.state_dict().items()})
        train(model, F.cross_entropy, X, CLASSES)
    assert not watched.findings
    assert watched.record.looks[0].status == "not-applicable"


def test_bias_before_batch_norm_is_counted():
    model = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 5))
    with checking.check(select=["bias-where-it-counts"], experiments=False) as watched:
        train(model, F.cross_entropy, X, CLASSES)
    (finding,) = watched.findings
    assert finding.severity == "note"
    assert finding.seen.startswith("24 parameters")


def test_head_without_bias_is_told_where_targets_are_far_from_zero():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1, bias=False))
    with checking.check(select=["bias-where-it-counts"], experiments=False) as watched:
        train(model, F.mse_loss, X, REAL + 3)
    assert [finding.severity for finding in watched.findings] == ["note"]
