"""The probe of losses: what it reads off live calls."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nomagic.probes import formulas
from nomagic.probes.losses import Loss, Losses
from nomagic.probes.run import Places, Run
from nomagic.probes.trace import Trace
from nomagic.taps import Taps


def heard(program) -> list[Loss]:
    torch.manual_seed(0)
    run = Run(Places())
    run.probes = {Trace: Trace(), Losses: Losses()}
    taps = Taps(run, run.probes.values())
    taps.install()
    try:
        program()
    finally:
        taps.remove()
    for probe in run.probes.values():
        probe.on_end()
    assert not run.errors
    return run.probe(Losses).rows


X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 4


def test_weights_smoothing_and_reduction_do_not_disturb_the_plain_loss():
    def program():
        weight = torch.tensor([9.0, 1, 1, 1])
        loss = nn.CrossEntropyLoss(weight, reduction="sum", label_smoothing=0.3, ignore_index=3)
        loss(nn.Linear(6, 4)(X), Y).backward()

    torch.manual_seed(0)
    kept = Y != 3
    plain = F.cross_entropy(nn.Linear(6, 4)(X)[kept], Y[kept]).item()
    (row,) = heard(program)
    assert row.training
    assert row.weighted
    assert row.first.plain == pytest.approx(plain, abs=1e-5)
    assert row.counts == (10, 10, 10, 0)
    assert row.entropy == pytest.approx(math.log(3))


def test_training_and_evaluation_are_told_apart_by_what_backward_was_called_on():
    def program():
        net = nn.Linear(6, 1)
        first = F.mse_loss(net(X), X[:, :1])
        second = (net(X) - X[:, 1:2]).pow(2).mean()
        unused = F.l1_loss(net(X), X[:, :1])
        first.backward()
        second.backward()
        with torch.no_grad():
            F.smooth_l1_loss(net(X), X[:, :1])
        return unused

    rows = heard(program)
    used = {(row.kind, row.handmade): row.training for row in rows}
    assert used == {
        ("mse", False): True,
        ("mse", True): True,
        ("l1", False): False,
        ("smooth_l1", False): False,
    }


def test_a_long_evaluation_without_no_grad_keeps_little():
    def program():
        net = nn.Linear(6, 4)
        for _ in range(300):
            F.cross_entropy(net(X), Y)

    (row,) = heard(program)
    assert row.calls == 300
    assert len(row.history) == 64
    assert not row.training


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("mse", lambda p, y: torch.square(p - y).sum(1).mean()),
        ("mse", lambda p, y: torch.linalg.vector_norm(y - p)),
        ("mse", lambda p, y: (torch.rand(40, 1) * (p - y) ** 2).mean()),
        ("l1", lambda p, y: (y - p).abs().mean()),
        ("nll", lambda p, _: -p.log_softmax(1).gather(1, Y[:, None]).mean()),
        ("nll", lambda p, _: -F.log_softmax(p, 1)[range(40), Y].mean()),
        ("nll", lambda p, _: -(F.one_hot(Y, 4).float() * p.log_softmax(1)).sum(1).mean()),
        ("bce", lambda p, y: -(y * p.sigmoid().log() + (1 - y) * (1 - p.sigmoid()).log()).mean()),
    ],
)
def test_losses_written_by_hand_are_recognised(kind, loss):
    rows = heard(lambda: loss(nn.Linear(6, 4)(X), X[:, :4].sigmoid()).backward())
    assert [(row.kind, row.handmade, row.training) for row in rows] == [(kind, True, True)]
    assert math.isfinite(rows[0].first.plain)


@pytest.mark.parametrize(
    "loss",
    [
        lambda net: net(X).pow(2).mean(),
        lambda net: (net(X) - net(X).mean()).pow(2).mean(),
        lambda net: sum((p - 1).pow(2).sum() for p in net.parameters()),
        lambda net: (net(X)[:, None] - net(X)[None]).abs().mean(),
    ],
)
def test_penalties_are_no_losses(loss):
    assert heard(lambda: loss(nn.Linear(6, 4)).backward()) == []


def test_numbers_inside_vmap_are_left_alone():
    def program():
        weights = torch.randn(3, 4, 6)
        torch.func.vmap(torch.func.grad(lambda w: F.cross_entropy(X @ w.T, Y)))(weights)
        F.cross_entropy(nn.Linear(6, 4)(X), Y).backward()

    rows = heard(program)
    assert [row.training for row in rows if row.calls and math.isfinite(row.first.plain)] == [True]


def test_large_tensors_are_thinned_row_by_row():
    pred = torch.randn(64, 5, 90, 90).softmax(1)
    rows, target = formulas.rows(pred, torch.arange(90).expand(64, 90, 90))
    assert rows.numel() <= formulas.ELEMENTS
    assert len(rows) == len(target)
    assert torch.allclose(rows.sum(1), torch.ones(len(rows)))
    assert formulas.thin(pred).numel() <= formulas.ELEMENTS
