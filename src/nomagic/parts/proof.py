"""Whether two networks compute the same, bit for bit, and how long each takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from nomagic.parts.flow import drawn, like

REPEATS, FEWEST, LONGEST = 101, 11, 1.0
"""Timings of each network at most and at least, and the seconds after which there are enough."""
SIGMAS = 2.6


def difference(before: nn.Module, after: nn.Module, sample: Tensor, seed: int = 0) -> str:
    """What differs between two networks in training mode on one batch; empty if nothing does.

    Compared are the outputs, the gradients of the inputs and of the parameters by name, for one
    random gradient of the outputs, and the buffers afterwards.
    """
    first, second = _traces(before, sample, seed), _traces(after, sample, seed)
    for name in {**first, **second}:
        a, b = first.get(name), second.get(name)
        if a is None or b is None or not torch.equal(a, b):
            return name
    return ""


def _traces(model: nn.Module, sample: Tensor, seed: int) -> dict[str, Tensor]:
    model.train()
    model.zero_grad()
    x = like(model, sample).detach().clone()
    x.requires_grad_(x.is_floating_point())
    with drawn(seed):
        output = model(x)
        output.backward(torch.randn_like(output))
    grads = {f"the gradient of {n}": p.grad for n, p in model.named_parameters()}
    buffers = {f"the buffer {n}": buffer for n, buffer in model.named_buffers()}
    found = {"the output": output.detach(), "the gradient of the inputs": x.grad}
    return {n: t for n, t in {**found, **grads, **buffers}.items() if t is not None}


def seconds(before: nn.Module, after: nn.Module, sample: Tensor) -> tuple[float, float]:
    """The medians of many forwards and backwards of each, taken in turn.

    They are equal where a sign test does not tell them apart (at about 1 %): on a busy machine
    medians of equal networks differ by several percent.
    """
    steps = [_step(model, sample) for model in (before, after)]
    for step in steps:
        step()
    rounds: list[tuple[float, float]] = []
    until = time.perf_counter() + LONGEST
    while len(rounds) < FEWEST or (len(rounds) < REPEATS and time.perf_counter() < until):
        if len(rounds) % 2:
            rounds.append((_timed(steps[0]), _timed(steps[1])))
        else:
            last = _timed(steps[1])
            rounds.append((_timed(steps[0]), last))
    one, other = (median(times) for times in zip(*rounds, strict=True))
    faster = sum(a > b for a, b in rounds)
    apart = abs(2 * faster - len(rounds)) > SIGMAS * math.sqrt(len(rounds))
    return (one, other) if apart else (one, one)


def _timed(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _step(model: nn.Module, sample: Tensor) -> Callable[[], None]:
    x = like(model, sample)

    def step() -> None:
        model.zero_grad()
        output = model(x)
        output.sum().backward()
        if output.is_cuda:
            torch.cuda.synchronize()

    return step
