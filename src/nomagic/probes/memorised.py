"""Whether a copy of the model can learn a handful of samples by heart, and where it gets stuck.

The copy starts from the weights before the first step. Dropout and weight decay are off, the
optimizer is Adam. First the script's own loss is minimised, then, if need be, its supervised
part alone, at a higher rate and from other weights.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

    from nomagic.replay import Told
    from nomagic.subject import Subject

SAMPLES = 8
MOST_CANDIDATES = 256
STEPS = 300
MOST_STEPS = 1_000
FALLING = 0.98
"""A loss still falls if 100 steps take it below this share of what it was."""
CLASSES_MARK = 0.1
"""Of ln C. Healthy small nets pass in 5 to 550 steps, faulty ones stay above 0.25 ln C."""
VALUES_MARK = 0.01
"""Of the variance of the targets."""
CAPACITY = 4
"""Trainable weights for each number to be learnt, below which failing proves nothing."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How learning a handful of samples by heart went.

    ``start`` and ``reached`` are losses, ``mark`` is what counts as learnt, ``constant`` what
    the best constant prediction gets. ``strict`` is False where a healthy model might fail, too
    (one target for each pixel or token, a bottleneck, noise inside, too few weights). ``stuck``
    names a known cause, ``tries`` how often it was tried; ``falling``: the loss still fell when
    the time was over.
    """

    place: Place | None
    kind: str
    classes: int
    samples: int
    start: float
    reached: float
    mark: float
    constant: float
    steps: int
    tries: int
    strict: bool = True
    falling: bool = False
    stuck: str = ""
    why_lenient: str = ""

    @property
    def learnt(self) -> bool:
        """Whether the samples were learnt by heart."""
        return self.reached <= self.mark


@dataclass(slots=True)
class _Try:
    start: float
    best: float
    steps: int
    falling: bool
    cut: bool
    dead: bool
    told: list[Told]


class Memorised(Experiment[Memory]):
    """One row: how learning a few samples of the first batch by heart went."""

    seconds: ClassVar[float] = 8.0

    def attempt(self, subject: Subject) -> Iterator[Memory]:
        """Try until it succeeds, at most four ways."""
        from nomagic.subject import NoSubjectError, fits

        picks = _picks(subject) if fits(subject) else []
        data = subject.sliced(picks) if picks else {}
        lenient = "" if picks else "the batch could not be taken apart"
        lenient = lenient or _lenient(subject)
        plan = PLAN[:1] if lenient else PLAN
        most = STEPS if lenient else MOST_STEPS
        deadline = (
            min(self.deadline, time.perf_counter() + LENIENT_SECONDS) if lenient else self.deadline
        )
        tries: list[_Try] = []
        for own, rate, shuffled in plan:
            tries.append(_attempt(subject, data, own, rate, shuffled, most, deadline))
            last = tries[-1]
            if last.cut or last.best <= 1.0:
                break
        best = min(tries, key=lambda one: one.best)
        if best.best > 1.0 and tries[-1].cut and len(tries) < ENOUGH and not lenient:
            raise NoSubjectError(
                f"learning a batch by heart takes longer than {self.seconds:.0f} seconds"
            )
        yield _row(subject, picks, best, len(tries), lenient)


PLAN = ((True, 1e-3, False), (False, 1e-2, False), (False, 1e-3, True), (False, 1e-2, True))
"""Own loss or its supervised part, learning rate, other weights of the same sizes."""
ENOUGH = 3
"""Tries that must have been finished to say that it does not work."""
LENIENT_SECONDS = 2.0
"""For a model that may fail, so that only a known cause counts."""
SETTLED = 100
"""Steps after which a loss that has not fallen says something about its cause."""


def _picks(subject: Subject) -> list[int]:
    """Samples far from each other by their inputs, so easy to tell apart, and of many classes."""
    import torch

    x = subject.tape.data[subject.input].value
    rows = x.movedim(subject.axes[subject.input], 0).flatten(1) if x.dim() > 1 else x.unsqueeze(1)
    rows = rows[:MOST_CANDIDATES, :4096].double()
    rows = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-9)
    labels = _labels(subject, len(rows))
    picks = [0]
    nearest = torch.full((len(rows),), math.inf, dtype=torch.double, device=rows.device)
    while len(picks) < min(SAMPLES, len(rows)):
        nearest = torch.minimum(nearest, ((rows - rows[picks[-1]]) ** 2).sum(1))
        times = Counter(labels[pick] for pick in picks)
        seen = torch.tensor([times[label] for label in labels], device=rows.device)
        free = nearest > 1e-6
        if not bool(free.any()):
            break
        fresh = free & (seen == seen[free].min())
        picks.append(int(torch.where(fresh, nearest, -1.0).argmax()))
    return picks if len(picks) > 1 else []


def _labels(subject: Subject, count: int) -> list[float]:
    y = subject.tape.data[subject.target].value
    y = y.movedim(subject.axes[subject.target], 0)[:count].flatten(1) if y.dim() > 1 else y[:count]
    return [float(v) for v in (y.double().argmax(1) if y.dim() > 1 else y)]


def _lenient(subject: Subject) -> str:
    """Why failing would prove nothing, or nothing."""
    x, y = subject.tape.data[subject.input], subject.tape.data[subject.target]
    weights = sum(p.numel() for p in _trainable(subject))
    if not subject.single:
        return "there is a target for each pixel or token"
    if (
        x.value.numel() == y.value.numel()
        and y.value.is_floating_point()
        and x.value.numel() > subject.batch
    ):
        return "the targets are as large as the inputs"
    if y.drawn:
        return "the targets are drawn at random"
    if weights < CAPACITY * SAMPLES * max(1, subject.task.pred[0].numel()):
        return f"{weights} trainable weights are few"
    if len({id(told.pred) for told in subject.told}) < len(subject.told):
        return "one prediction has several targets"
    if _noisy(subject):
        return "the model draws random numbers"
    return ""


def _trainable(subject: Subject) -> list[Tensor]:
    from nomagic.replay import Replay

    return Replay(subject.tape).parameters()


def _noisy(subject: Subject) -> bool:
    import torch

    replay = subject.calm()
    first = [told.pred.detach() for told in subject.predict(replay)]
    second = [told.pred.detach() for told in subject.predict(replay, seed=1)]
    return not all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(first, second, strict=True)
    )


def _attempt(
    subject: Subject,
    data: Mapping[int, Tensor],
    own: bool,
    rate: float,
    shuffled: bool,
    most: int,
    deadline: float,
) -> _Try:
    """Train a fresh copy; losses are relative to the mark."""
    import torch

    from nomagic.replay import Replay, Spy, no_dropout
    from nomagic.subject import pure

    replay = Replay(subject.tape)
    no_dropout(replay.modules)
    if shuffled:
        _shuffle(replay.parameters())
    parameters = replay.parameters()
    optimizer = torch.optim.Adam(parameters, lr=rate)
    losses: list[float] = []
    told: list[Told] = []
    dead = cut = False
    with torch.enable_grad():
        while len(losses) < most:
            torch.manual_seed(len(losses))
            spy = Spy(dropout=False)
            with spy:
                total = replay.loss(data)
            told = [spy.told[task] for task in subject.tasks]
            each = [pure(one) for one in told]
            losses.append(
                max(float(loss.detach()) / mark(one) for loss, one in zip(each, told, strict=True))
            )
            if losses[-1] <= 1.0 or not math.isfinite(losses[-1]) or _level(losses):
                break
            cut = time.perf_counter() > deadline
            if cut:
                break
            optimizer.zero_grad()
            (total if own else torch.stack(each).sum()).backward()
            if len(losses) == 1:
                dead = all(p.grad is None or not bool(p.grad.any()) for p in parameters)
            optimizer.step()
    finite = [loss for loss in losses if math.isfinite(loss)] or [math.inf]
    falling = len(losses) > 100 and losses[-1] < FALLING * losses[-101]
    return _Try(losses[0], min(finite), len(losses), falling, cut, dead, told)


def _level(losses: list[float]) -> bool:
    """Whether the loss has stopped falling."""
    n = len(losses)
    return n > STEPS and n % 50 == 0 and min(losses[-100:]) > FALLING * min(losses[:-100])


def _shuffle(parameters: list[Tensor]) -> None:
    """Other weights of the same sizes: each tensor's numbers in another order."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in parameters:
            order = torch.randperm(p.numel(), generator=generator).to(p.device)
            p.copy_(p.flatten()[order].view(p.shape))


def mark(told: Told) -> float:
    """The loss that counts as learnt."""
    from nomagic.subject import spread

    if told.kind in ("cross_entropy", "nll_loss"):
        return CLASSES_MARK * math.log(
            max(2, told.pred.shape[1] if told.pred.dim() > 1 else len(told.pred))
        )
    if told.kind.startswith("binary"):
        return CLASSES_MARK * math.log(2)
    return max(VALUES_MARK * spread(told), 1e-12)


def _row(subject: Subject, picks: list[int], best: _Try, tries: int, lenient: str) -> Memory:
    from nomagic.subject import spread

    worst = max(best.told, key=_lag)
    level = mark(worst)
    reached = best.best * level
    return Memory(
        place=subject.loss_place,
        kind=worst.kind,
        classes=subject.classes,
        samples=len(picks) or subject.batch,
        start=best.start * level,
        reached=reached,
        mark=level,
        constant=spread(worst),
        steps=best.steps,
        tries=tries,
        strict=not lenient,
        falling=best.falling,
        stuck="" if best.best <= 1.0 else _cause(worst, best, reached, not lenient),
        why_lenient=lenient,
    )


def _lag(told: Told) -> float:
    """How far a loss is from its mark at the end."""
    from nomagic.subject import pure

    return float(pure(told).detach()) / mark(told)


def _cause(told: Told, best: _Try, reached: float, strict: bool) -> str:
    """A known reason for getting stuck, as evidence shows it."""
    if best.dead:
        return "dead"
    if best.steps < SETTLED:
        return ""
    pred, target = told.pred.detach().float(), told.target.detach().float()
    if told.kind in CLASSIFY:
        cause = _classes_cause(told.kind, pred, reached)
    else:
        cause = _values_cause(pred, target)
    return cause or ("constant" if strict and _same(pred) else "")


CLASSIFY = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _classes_cause(kind: str, pred: Tensor, reached: float) -> str:
    """Probabilities where logits are wanted, and a loss at the floor that this puts up."""
    if float(pred.min()) < 0 or float(pred.max()) > 1:
        return ""
    if kind == "cross_entropy" and pred.dim() > 1:
        floor = math.log(1 + (pred.shape[1] - 1) / math.e)
        if reached >= 0.97 * floor:
            return "softmax" if bool(((pred.sum(1) - 1).abs() < 1e-3).all()) else "sigmoid"
    if kind == "binary_cross_entropy_with_logits" and reached >= LOGIT_FLOOR:
        return "sigmoid-logits"
    return ""


LOGIT_FLOOR = 0.3
"""A sigmoid of a number in 0 … 1 costs a positive at least 0.313 and a negative 0.693."""


def _values_cause(pred: Tensor, target: Tensor) -> str:
    """Shapes that are broadcast, or predictions that cannot reach the targets."""
    if _grows(pred, target):
        return "shapes"
    if pred.shape != target.shape:
        return ""
    if float(pred.min()) >= 0 and bool((target < -1e-3).any()):
        return "positive"
    if float(pred.abs().max()) <= 1 and bool((target.abs() > 1.01).any()):
        return "bounded"
    return ""


def _same(pred: Tensor) -> bool:
    """Whether every sample gets the same prediction."""
    rows = pred.flatten(1) if pred.dim() > 1 else pred.unsqueeze(1)
    return float((rows - rows[:1]).abs().max() / rows.abs().max().clamp_min(1e-6)) < 1e-5


def _grows(pred: Tensor, target: Tensor) -> bool:
    """Whether the two are broadcast to something larger than either."""
    import torch

    try:
        shape: Any = torch.broadcast_shapes(pred.shape, target.shape)
    except RuntimeError:
        return False
    return math.prod(shape) > max(pred.numel(), target.numel())
