"""Watching and judging: what a watched block returns, and that nothing stays behind."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn, overrides
from torch.nn.modules import module as modules
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

import nomagic
from nomagic import checking
from nomagic.config import Options
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Places, Run
from nomagic.taps import Taps
from nomagic.words import Finding, Outcome, Practice, Record


def train(steps: int = 25, broken: bool = False) -> nn.Module:
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    y = (x[:, :3]).argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    done = 0
    while done < steps:
        for xb, yb in loader:
            if not broken:
                optimizer.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            optimizer.step()
            done += 1
    return net


def patched() -> list[Any]:
    """Everything foreign that the taps may touch."""
    return [
        torch.autograd.backward,
        torch.autograd.grad,
        nn.Module.__init__,
        nn.Module.zero_grad,
        nn.Module.load_state_dict,
        Optimizer.__init__,
        Optimizer.zero_grad,
        DataLoader.__init__,
        DataLoader.__iter__,
        torch.manual_seed,
        np.random.seed,
        random.seed,
        torch.compile,
        dict(modules._global_forward_hooks),
        dict(modules._global_forward_pre_hooks),
        overrides._get_current_function_mode_stack(),
    ]


def test_a_watched_block_has_findings():
    with nomagic.check(select=["zero-grad"]) as watched:
        train(broken=True)
    (found,) = [f for f in watched.findings if f.practice == "zero-grad"]
    assert found.severity == "fault"
    assert found.place is not None
    assert found.place.file.endswith("test_checking.py")
    assert watched.record.steps >= 25


def test_everything_is_as_before_after_a_watched_block():
    before = patched()
    with nomagic.check(experiments=False):
        assert patched() != before
        train()
    assert patched() == before


def test_everything_is_as_before_after_an_error():
    before = patched()

    def fail() -> None:
        train()
        raise ZeroDivisionError

    watched = nomagic.check(experiments=False)
    with pytest.raises(ZeroDivisionError), watched:
        fail()
    assert patched() == before
    assert watched.record.ending.how == "crashed"


def test_weights_are_bit_identical():
    plain = [p.clone() for p in train(60).parameters()]
    with nomagic.check():
        net = train(60)
    assert all(torch.equal(a, b) for a, b in zip(plain, net.parameters(), strict=True))


def test_random_states_are_untouched_by_experiments():
    with nomagic.check():
        train()
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with nomagic.check():
        train()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()
    assert random.getstate() == state[2]


def test_a_watched_model_can_be_pickled_at_any_time():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with nomagic.check(experiments=False):
        for _ in range(40):
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
            pickle.dumps((net, optimizer))


def test_a_model_that_raises_once_is_watched_on():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 1)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            out = self.inner(x)
            if self.calls % 7 == 0:
                raise MemoryError
            return out

    net = Moody()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with nomagic.check(experiments=False, select=["toggle-train-eval"]) as watched:
        for _ in range(60):
            try:
                loss = net(torch.ones(2, 4)).sum()
            except MemoryError:
                continue
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert watched.record.backwards == 60 - 60 // 7
    assert net._forward_hooks == {}


def test_steps_end_a_block():
    with nomagic.check(steps=7, experiments=False) as watched:
        train(1000)
    assert watched.record.steps == 7
    assert watched.record.ending.how == "stopped"


def test_a_record_is_not_there_before_the_end():
    with nomagic.check() as watched, pytest.raises(RuntimeError, match="still running"):
        _ = watched.findings


def test_nothing_trained_is_said():
    with nomagic.check() as watched:
        pass
    assert not watched.findings
    assert "no backward pass was seen" in watched.record.remarks[0]
    assert {look.status for look in watched.record.looks} == {"not-applicable"}


class Clumsy(Probe[int]):
    """Raises in the middle of a run."""

    def on_backward(self, backward: Backward) -> None:  # noqa: ARG002
        raise RuntimeError("no, not today")


def check_with_clumsy(clumsy: Clumsy) -> Iterator[Outcome]:  # noqa: ARG001
    yield Finding("never", "never", "never")


def check_that_raises() -> Iterator[Outcome]:
    raise KeyError("oops")


def judged(practice: Practice) -> Record:
    watch = checking.Watch(Options(experiments=False))
    watch.practices = (practice,)
    watch.start()
    train()
    watch.stop()
    return watch.judge((), checking.Ending())


def test_a_probe_that_raises_is_silenced_and_said():
    practice = Practice("clumsy", "sanity", "", "", (), check_with_clumsy, (Clumsy,))
    (look,) = judged(practice).looks
    assert look.status == "could-not-look"
    assert "no, not today" in look.reason


def test_a_check_that_raises_is_said():
    practice = Practice("raises", "sanity", "", "", (), check_that_raises, ())
    (look,) = judged(practice).looks
    assert look.status == "could-not-look"
    assert "KeyError" in look.reason


def test_times_that_cannot_be_drawn_cost_nothing_else():
    watch = checking.Watch(Options(experiments=False))
    watch.start()
    train()
    watch.stop()
    watch.run.laps.rows = [None, None]  # type: ignore[list-item]
    record = watch.judge((), checking.Ending())
    assert record.steps >= 25
    assert any(said.startswith("no picture of the time: AttributeError") for said in record.remarks)


def test_the_users_function_modes_survive():
    class Mine(overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    mine = Mine()
    with nomagic.check(experiments=False):
        net = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with torch.device("cpu"), mine:
            for _ in range(30):
                net(torch.ones(3, 2)).sum().backward()
                optimizer.step()
            assert overrides._get_current_function_mode() is mine
    assert overrides._get_current_function_mode_stack() == []


def test_an_event_costs_nothing_when_nobody_hears_it():
    run = Run(Places())
    taps = Taps(run, [])
    taps.install()
    try:
        assert Optimizer.zero_grad.__qualname__ == "Optimizer.zero_grad"
        train(25)
        assert run.clock.spent == 0
    finally:
        taps.remove()
