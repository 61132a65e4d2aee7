"""A process for each member: the plain trainer on several cores at once.

Workers are forked, so that a setup may hold anything (lambdas, networks of a notebook); where
the system cannot fork they are spawned and the setup must be picklable. Each computes on one
thread. What comes back are plain values.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from nomagic.engine import plain
from nomagic.engine.plan import Outcome, Plan


class WorkerError(RuntimeError):
    """A worker process ended without a result."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def possible(plan: Plan) -> str:
    """Why workers cannot be used; empty if they can."""
    if plan.device.type != "cpu":
        return f"the setup computes on {plan.device}"
    if multiprocessing.current_process().daemon:
        return "this process is a worker itself"
    return ""


def train(plan: Plan, seeds: Sequence[int], workers: int | None = None) -> list[Outcome]:
    """Train each seed in a process of its own; the outcomes in the order of the seeds.

    Raises:
        WorkerError: a worker died (killed, out of memory).
        Exception: what a worker's training raised.
    """
    return [
        outcome for _, outcome in sorted(finished(plan, seeds, workers), key=lambda one: one[0])
    ]


def finished(
    plan: Plan, seeds: Sequence[int], workers: int | None = None
) -> Iterator[tuple[int, Outcome]]:
    """The same as they finish: (position in ``seeds``, outcome)."""
    count = min(workers or cores(), len(seeds))
    for seed in seeds:
        plan.part(seed)  # read and split once, before the fork
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    pipes: dict[Connection, Any] = {}
    waiting = list(enumerate(seeds))
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(plan, theirs), daemon=True)
            worker.start()
            theirs.close()
            pipes[ours] = worker
            ours.send(waiting.pop(0))
        running = len(pipes)
        while running:
            for pipe in wait(list(pipes)):
                assert isinstance(pipe, Connection)
                yield _receive(pipe, pipes[pipe])
                if waiting:
                    pipe.send(waiting.pop(0))
                else:
                    running -= 1
                    pipes.pop(pipe).terminate()
    finally:
        for worker in pipes.values():
            worker.terminate()


def _receive(pipe: Connection, worker: Any) -> tuple[int, Outcome]:
    try:
        position, outcome = pipe.recv()
    except EOFError:
        worker.join(1)
        raise WorkerError(
            f"a worker process ended with code {worker.exitcode} before its run was over; "
            "is there too little memory?"
        ) from None
    if isinstance(outcome, BaseException):
        raise outcome
    return position, outcome


def _work(plan: Plan, pipe: Connection) -> None:
    """Train what comes through the pipe until it closes."""
    torch.set_num_threads(1)
    while True:
        try:
            position, seed = pipe.recv()
        except EOFError:
            return
        try:
            (outcome,) = plain.train(plan, [seed])
            pipe.send((position, outcome))
        except Exception as error:
            pipe.send((position, error))
