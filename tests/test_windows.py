"""Ticks, windows and sleep: who hears what, when, and what it may cost."""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import nn

from nomagic.probes.probe import Probe
from nomagic.probes.run import DENSE, Backward, Call, Places, Run, Step
from nomagic.taps import Taps


class Heard(Probe[int]):
    """Which ticks it heard, by kind."""

    always: ClassVar[tuple[str, ...]] = ("on_backward",)
    windows: ClassVar[tuple[str, ...]] = ("on_before_step",)

    def __init__(self) -> None:
        super().__init__()
        self.backwards: list[int] = []
        self.steps: list[int] = []
        self.looked: list[int] = []
        self.woken: list[int] = []

    def on_backward(self, backward: Backward) -> None:
        self.backwards.append(backward.tick)

    def on_before_step(self, step: Step) -> None:
        self.steps.append(step.tick)

    def on_step(self, step: Step) -> None:
        self.looked.append(step.tick)

    def on_wake(self) -> None:
        self.woken.append(self.run.tick)


class Calls(Probe[int]):
    windows: ClassVar[tuple[str, ...]] = ("on_call",)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, bool]] = []

    def on_call(self, call: Call) -> None:
        self.calls.append((call.tick, call.grads))


def train(ticks: int, *probes: Probe[Any], evaluate: int = 0, second: int = 0) -> Run:
    """Train a small network with a budget that allows no look of its own accord."""
    run = Run(Places())
    run.clock.grace = 0.0
    run.clock.budget = 0.0
    taps = Taps(run, probes)
    taps.install()
    try:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for tick in range(ticks):
            if evaluate and tick % evaluate == 0:
                with torch.no_grad():
                    for _ in range(3):
                        net(torch.zeros(2, 4))
            if second and tick == second:
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            optimizer.zero_grad()
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    finally:
        taps.remove()
    return run


def test_without_a_budget_windows_come_ten_in_a_decade() -> None:
    heard = Heard()
    run = train(2_000, heard)
    late = [tick for tick in heard.looked if tick >= DENSE]
    assert not run.errors
    assert heard.looked[: DENSE - 1] == list(range(1, DENSE))
    assert 10 <= len(late) <= 25
    assert all(b > a for a, b in pairwise(late))
    assert len(heard.steps) < 400
    assert heard.backwards == list(range(2_000)), "what is always heard is heard between windows"


def test_a_look_has_ticks_of_its_window_before_and_after_it() -> None:
    heard = Heard()
    train(2_000, heard)
    steps = set(heard.steps)
    for tick in heard.looked:
        if DENSE + 10 <= tick < 1_990:
            assert {tick - 3, tick - 2, tick - 1, tick, tick + 1} <= steps


def test_with_a_budget_to_spare_nobody_sleeps() -> None:
    heard = Heard()
    run = Run(Places())
    run.clock.grace = 1e9
    taps = Taps(run, [heard])
    taps.install()
    try:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(300):
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    finally:
        taps.remove()
    assert heard.steps == list(range(1, 301))
    assert not heard.woken
    assert 20 <= len([tick for tick in heard.looked if tick >= DENSE]) <= 40


def test_waking_is_told_before_anything_else_of_the_window() -> None:
    heard = Heard()
    train(2_000, heard)
    gaps = [b for a, b in pairwise(heard.steps) if b > a + 1]
    assert gaps
    assert heard.woken == gaps


def test_evaluations_are_heard_between_windows_but_not_each_call() -> None:
    calls = Calls()
    train(2_000, calls, evaluate=100)
    heard = [tick for tick, grads in calls.calls if not grads]
    assert set(heard) == set(range(0, 2_000, 100))
    assert 20 <= len(heard) <= 60


def test_the_first_step_of_a_new_optimizer_is_heard() -> None:
    heard = Heard()
    run = train(2_000, heard, second=1_777)
    assert 1_778 in heard.steps
    assert run.steps == 2_000
    assert max(run.stepped.values()) <= 1_777
