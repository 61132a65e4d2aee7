"""Small models: what each candidate costs on disk and in time, and which one is good enough.

Candidates are measured side by side on this machine. The smallest that is within one standard error
of the best is chosen. An ensemble is distilled into one network, and weights are kept in 8 bits,
with what that loses.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.datasets.samples import Data
from nomagic.engine import plain, scores
from nomagic.engine.plan import Member, Plan
from nomagic.fitting import noise
from nomagic.fitting.export import quiet
from nomagic.fitting.fitted import Fitted
from nomagic.words import Picture, Series, Task

BATCH = 64
"""Samples of the larger batch that is timed."""
REPEATS = 15
"""Rounds in which all candidates are timed in turn."""


class ShrinkError(ValueError):
    """No model is small enough, or one cannot be made smaller: says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model and its price: score with its standard error, bytes, and milliseconds for one sample
    and for 64 at once.
    """

    name: str
    score: float
    error: float
    bytes: int
    single: float
    batch: float


@dataclass(frozen=True, slots=True)
class Frontier:
    """The candidates, the best that the limits allow, and the smallest that is as good."""

    candidates: tuple[Candidate, ...]
    best: Candidate
    chosen: Candidate
    says: tuple[str, ...]
    pictures: tuple[Picture, ...]


# -- the frontier ---------------------------------------------------------------------------------


def measured(models: Mapping[str, Fitted], data: Data) -> tuple[Candidate, ...]:
    """What each model scores on data that it has not seen, its size and its times.

    Times are medians of rounds in which all take turns, on the device of each.
    """
    targets = data.batch(torch.arange(len(data)))[1]
    runs: dict[tuple[str, int], Callable[[], object]] = {}
    for name, model in models.items():
        x = model.inputs(data)[0]
        for size in (1, BATCH):
            runs[name, size] = _timed_run(model, x[:size])
    spent = timed(runs)
    found: list[Candidate] = []
    for name, model in models.items():
        scored = noise.score(Plan(model.setup, data), model.outputs(data), targets)
        price = (model.bytes, spent[name, 1], spent[name, BATCH])
        found.append(Candidate(name, scored.value, scored.error, *price))
    return tuple(found)


def _timed_run(model: Fitted, x: Tensor) -> Callable[[], object]:
    served = model.served

    def run() -> object:
        with torch.no_grad():
            return served.said(model.run(x))[0].cpu()

    return run


def timed(runs: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """Milliseconds of each, the median of rounds in which all take turns."""
    spent: dict[Any, list[float]] = {name: [] for name in runs}
    for number in range(REPEATS + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:
                spent[name].append(1e3 * (time.perf_counter() - began))
    return {name: sorted(values)[len(values) // 2] for name, values in spent.items()}


def frontier(
    candidates: Sequence[Candidate],
    metric: str = "accuracy",
    *,
    higher: bool = True,
    max_bytes: int | None = None,
    max_ms: float | None = None,
) -> Frontier:
    """Choose the smallest candidate within one standard error of the best that the limits allow.

    Args:
        candidates: the models, measured.
        metric: what their score is.
        higher: whether more of it is better.
        max_bytes: the largest size of the weights.
        max_ms: the longest time for one sample.

    Raises:
        ShrinkError: none is within the limits.
    """
    sign = 1.0 if higher else -1.0
    allowed = [one for one in candidates if _fits(one, max_bytes, max_ms)]
    if not allowed:
        raise ShrinkError(_none_fits(candidates, max_bytes, max_ms))
    best = max(allowed, key=lambda one: sign * one.score)
    near = [one for one in allowed if sign * (best.score - one.score) <= best.error]
    chosen = min(near, key=lambda one: (one.bytes, one.single, -sign * one.score))
    return Frontier(
        tuple(candidates),
        best,
        chosen,
        tuple(_says(candidates, allowed, best, chosen, metric)),
        (
            _picture(candidates, metric, "bytes", sign, max_bytes),
            _picture(candidates, metric, "milliseconds for one sample", sign, max_ms),
        ),
    )


def _fits(one: Candidate, max_bytes: int | None, max_ms: float | None) -> bool:
    small = max_bytes is None or one.bytes <= max_bytes
    return small and (max_ms is None or one.single <= max_ms)


def _none_fits(candidates: Sequence[Candidate], max_bytes: int | None, max_ms: float | None) -> str:
    if not candidates:
        return "there is no model to choose from"
    small = min(candidates, key=lambda one: one.bytes)
    fast = min(candidates, key=lambda one: one.single)
    limits = [] if max_bytes is None else [f"{max_bytes:,} bytes"]
    limits += [] if max_ms is None else [f"{max_ms:g} ms for one sample"]
    return (
        f"no model is within {' and '.join(limits)}: the smallest, {small.name}, has "
        f"{small.bytes:,} bytes, and the fastest, {fast.name}, takes {fast.single:.3g} ms; allow "
        "more, or give a smaller model"
    )


def _says(
    candidates: Sequence[Candidate],
    allowed: Sequence[Candidate],
    best: Candidate,
    chosen: Candidate,
    metric: str,
) -> list[str]:
    said: list[str] = []
    if len(allowed) < len(candidates):
        said.append(f"{len(candidates) - len(allowed)} of {len(candidates)} models are too large")
    if chosen is best:
        said.append(f"{best.name} is the smallest model that is as good as the best")
        return said
    said.append(
        f"{chosen.name} is within one standard error ({best.error:.2g}) of the best, {best.name}: "
        f"{metric} {chosen.score:.4g} and {best.score:.4g}, with {best.bytes / chosen.bytes:.3g} "
        f"times fewer bytes and {best.single / max(chosen.single, 1e-9):.3g} times less time for "
        "one sample"
    )
    return said


def _picture(
    candidates: Sequence[Candidate], metric: str, price: str, sign: float, limit: float | None
) -> Picture:
    """The score against a price, a point for each candidate; those that none beats are joined."""
    costs = [float(one.bytes) if price == "bytes" else one.single for one in candidates]
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -sign * candidates[i].score))
    front: list[int] = []
    for i in order:
        if not front or sign * candidates[i].score > sign * candidates[front[-1]].score:
            front.append(i)
    points = [
        Series(
            one.name,
            (cost,),
            (one.score,),
            (one.score - one.error,),
            (one.score + one.error,),
            kind="points",
        )
        for one, cost in zip(candidates, costs, strict=True)
    ]
    line = Series(
        "none is better at this price",
        tuple(costs[i] for i in front),
        tuple(candidates[i].score for i in front),
    )
    ends = (min(one.score for one in candidates), max(one.score for one in candidates))
    guides = [Series("limit", (limit, limit), ends, kind="guide")] if limit is not None else []
    names = ", ".join(candidates[i].name for i in front)
    return Picture(
        f"{metric} against {price}",
        f"From the cheapest on, each better than all that cost less: {names}.",
        price,
        metric,
        (line, *points, *guides),
        log="x",
    )


# -- distillation ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Soft:
    """The loss of a student: of the truth, and of the teacher's softened answer (Hinton et al.
    2015, arXiv:1503.02531).

    Targets are (batch, 2, …): the truth and what the teacher says, as probabilities or numbers.
    """

    task: Task
    temperature: float
    share: float

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch; the teacher's part counts ``share``."""
        truth, said = target[:, 0], target[:, 1]
        output = output.reshape(truth.shape)
        if self.task == "regression":
            return F.mse_loss(output, (1 - self.share) * truth + self.share * said)
        one = F.cross_entropy
        if self.task in ("binary", "multi-label"):
            one = F.binary_cross_entropy_with_logits
        soft = self.temperature**2 * one(output / self.temperature, said)
        return (1 - self.share) * one(output, truth) + self.share * soft


def distil(
    plan: Plan,
    seed: int,
    teacher: Fitted,
    *,
    temperature: float = 2.0,
    share: float = 0.5,
    said: Callable[[], Tensor] | None = None,
) -> Fitted:
    """Train one network on what an ensemble says of the training data, and on the truth.

    Args:
        plan: the student's setup, and the data that the teacher learnt from.
        seed: of the split and of the student's draws; give the teacher's.
        teacher: the ensemble.
        temperature: the teacher's answers are softened by it; no matter for numbers.
        share: how much they count, between 0 and 1.
        said: gives what the teacher says of all data, where that is known (`Fitted.outputs`).

    Raises:
        ShrinkError: the task or the data do not allow it.
    """
    task = plan.form.task
    if task == "sequence":
        raise ShrinkError("a model of tokens is not distilled: its answers are too many to keep")
    if plan.data.y is None:
        raise ShrinkError("distillation needs data in memory; these are read item by item")
    if not 0 <= share <= 1 or temperature <= 0:
        raise ShrinkError(f"share is {share} and temperature {temperature}; see distil")
    setup = replace(plan.setup, members=1, smoothing=0.0, loss=Soft(task, temperature, share))
    answers = said() if said else teacher.outputs(plan.data)
    data = replace(plan.data, y=_softened(plan, answers.cpu(), temperature))
    vars(data)["form"] = plan.form
    trained = plain.fit(Plan(setup, data), Member(seed, draw=plan.setup.draw))
    if trained.failed:
        raise ShrinkError("the student's loss became NaN: lower its learning rate")
    return Fitted.of(plan, seed, [trained.model])


def _softened(plan: Plan, said: Tensor, temperature: float) -> Tensor:
    """Targets (n, 2, …): the truth, and what the teacher says."""
    task, truth = plan.form.task, plan.data.y
    assert truth is not None, "the data are in memory"
    if task == "classification":
        hard = F.one_hot(truth, plan.form.outputs).float()
        return torch.stack([hard, (said / temperature).softmax(-1)], 1)
    if task != "regression":
        said = (said / temperature).sigmoid()
    return torch.stack([truth.float(), said.reshape(truth.shape)], 1)


def kept(single: float, student: float, ensemble: float) -> float:
    """The share of an ensemble's gain over a single network that its student keeps.

    It is nan where the ensemble is no better; above 1 the student is better than its teacher.
    """
    gain = ensemble - single
    return math.nan if gain == 0 else (student - single) / gain


# -- 8 bits ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Quantised:
    """A model with weights in 8 bits: its sizes before and after, and how much the score fell."""

    fitted: Fitted
    before: int
    after: int
    drop: float


def quantise(
    fitted: Fitted, data: Data, how: Literal["weights", "dynamic"] = "weights"
) -> Quantised:
    """Keep the weights of linear layers in 8 bits, by torchao, and measure what that loses.

    The result predicts and is exported (kind "torch"); its weights are no safetensors.

    Args:
        fitted: the model, which stays as it is.
        data: to measure on, not seen in training.
        how: "weights" only, which computes in floats, or "dynamic", which also rounds what goes
            into each layer and computes in whole numbers.

    Raises:
        ShrinkError: torchao is missing, or there is nothing to gain.
    """
    if not any(isinstance(one, nn.Linear) for net in fitted.networks for one in net.modules()):
        raise ShrinkError("the model has no linear layer, which is what is kept in 8 bits")
    networks = _in_8_bits(fitted.networks, how)
    small = replace(fitted, networks=networks)
    if small.bytes >= fitted.bytes:
        raise ShrinkError(
            f"8 bits would not make the model smaller ({fitted.bytes:,} bytes, then "
            f"{small.bytes:,}): its linear layers are too small"
        )
    targets = data.batch(torch.arange(len(data)))[1]
    setup, task = fitted.setup, fitted.form.task
    name = scores.metric_name(setup, task)
    was, now = (
        scores.score(setup, task, one.outputs(data), targets)[name] for one in (fitted, small)
    )
    drop = was - now if scores.higher_is_better(setup, task) else now - was
    return Quantised(small, fitted.bytes, small.bytes, drop)


def _in_8_bits(networks: Sequence[nn.Module], how: str) -> tuple[nn.Module, ...]:
    try:
        with quiet():
            from torchao import quantization
    except ImportError as error:
        raise ShrinkError("torchao is not installed: pip install 'nomagic[quantise]'") from error
    library: Any = quantization
    made = tuple(copy.deepcopy(one) for one in networks)
    kinds = {
        "weights": library.Int8WeightOnlyConfig,
        "dynamic": library.Int8DynamicActivationInt8WeightConfig,
    }
    with quiet():
        for one in made:
            library.quantize_(one, kinds[how]())
    return made
