"""Several processes at once: the plain trainer, or the stacked one, on every core.

Workers are forked, so that a setup may hold anything (lambdas, networks of a notebook); where
the system cannot fork they are spawned and the setup must be picklable. Each computes on one
thread. What comes back are plain values.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from nomagic.engine import plain
from nomagic.engine.plan import Outcome, Plan

Trainer = Callable[[Plan, Sequence[int]], list[Outcome]]
"""Trains seeds of a plan in one process."""

T = TypeVar("T")

SHARE = 32
"""Members that one worker stacks at once: more gain nothing and need memory."""


class WorkerError(RuntimeError):
    """A worker process ended without a result."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def threads(count: int) -> Generator[None]:
    """So many threads for torch; afterwards as it was.

    With small networks one is often best: on a busy machine threads wait for each other longer
    than they compute.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def possible(plan: Plan) -> str:
    """Why workers cannot be used; empty if they can."""
    if plan.device.type != "cpu":
        return f"the setup computes on {plan.device}"
    if multiprocessing.current_process().daemon:
        return "this process is a worker itself"
    return ""


def train(
    plan: Plan, seeds: Sequence[int], inner: Trainer = plain.train, workers: int | None = None
) -> list[Outcome]:
    """Train the seeds in several processes; the outcomes in the order of the seeds.

    Takes and raises what `finished` does.
    """
    parts = finished(plan, seeds, inner, workers)
    found = {outcome.seed: outcome for part in parts for outcome in part}
    return [found[seed] for seed in seeds]


def finished(
    plan: Plan, seeds: Sequence[int], inner: Trainer = plain.train, workers: int | None = None
) -> Iterator[list[Outcome]]:
    """Train the seeds in several processes; outcomes as they finish.

    Args:
        plan: what is trained.
        seeds: the seeds.
        inner: trains some of them in one process; the plain trainer gets one at a time, another
            an equal share for each worker, at most `SHARE`.
        workers: processes, by default as many as there are cores.

    Raises:
        WorkerError: a worker died (killed, out of memory).
        Exception: what a worker's training raised.
    """
    count = min(workers or cores(), len(seeds))
    size = 1 if inner is plain.train else min(SHARE, -(-len(seeds) // max(1, count)))
    parts = [list(seeds[i : i + size]) for i in range(0, len(seeds), max(1, size))]
    yield from each(plan, parts, inner, count)


def each(
    plan: Plan, parts: Sequence[list[int]], work: Callable[[Plan, list[int]], T], count: int
) -> Iterator[T]:
    """What ``work`` makes of each part of the seeds, as it is done; in ``count`` processes.

    Raises what `finished` does.
    """
    plan.ready(seed for part in parts for seed in part)
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    workers: dict[Connection, Any] = {}
    waiting = list(parts)
    try:
        for _ in range(min(count, len(parts))):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(plan, work, theirs), daemon=True)
            _start(worker)
            theirs.close()
            workers[ours] = worker
            ours.send(waiting.pop(0))
        while workers:
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)
                yield _receive(pipe, workers[pipe])
                if waiting:
                    pipe.send(waiting.pop(0))
                else:
                    workers.pop(pipe).terminate()
    finally:
        for worker in workers.values():
            worker.terminate()


def _start(worker: Any) -> None:
    """Start a process, whatever Python says of the threads of this one.

    From Python 3.12 on, forking a process that has threads warns of locks that the child finds
    held. A worker computes on one thread, with tensors that are complete before the fork, and ends
    without cleaning up after threads that it does not have.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        worker.start()


def _receive(pipe: Connection, worker: Any) -> Any:
    try:
        found: Any = pipe.recv()
    except EOFError:
        worker.join(1)
        raise WorkerError(
            f"a worker process ended with code {worker.exitcode} before its run was over; "
            "is there too little memory?"
        ) from None
    if isinstance(found, BaseException):
        raise found
    return found


def _work(plan: Plan, work: Callable[[Plan, list[int]], object], pipe: Connection) -> None:
    """Do what comes through the pipe until it closes."""
    torch.set_num_threads(1)
    while True:
        try:
            seeds = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(work(plan, seeds))
        except Exception as error:
            pipe.send(error)
