"""What the experiments experiment on: one supervised training pass that can be run again.

Of all tapes the one is taken whose model is largest and whose loss compares predictions with
targets that came from outside. Data, targets and their batch dimension are found out by looking
at what depends on what.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nomagic.probes.tape import Outside, Tape
from nomagic.probes.tree import found
from nomagic.replay import WEIGHTS, CannotReplayError, Replay, Spy, Told, is_index, no_dropout
from nomagic.words import Place


class NoSubjectError(Exception):
    """There is nothing to experiment on, and why; not ``apt``: the question does not arise."""

    def __init__(self, reason: str, apt: bool = True) -> None:
        super().__init__(reason)
        self.apt = apt


@dataclass
class Subject:
    """A supervised training pass.

    ``tasks`` are the indices of its supervised losses among those that a `Spy` is told.
    ``input`` and ``target`` are indices into the tape's data; ``axes`` says for the data that
    hold one entry per sample, which dimension that is; ``batch`` is the number of samples, 0
    where it is not known. ``sure``: there is no doubt about it.
    ``fold`` is the shape that a flattened target had (samples and steps), if it is that.
    """

    tape: Tape
    tasks: list[int]
    told: list[Told]
    input: int
    target: int
    axes: dict[int, int] = field(default_factory=dict)
    batch: int = 0
    sure: bool = False
    fold: tuple[int, ...] = ()

    @property
    def task(self) -> Told:
        """The first supervised loss."""
        return self.told[0]

    @property
    def place(self) -> Place | None:
        """The line that calls the model."""
        return self.tape.steps[self.tape.model].place if self.tape.model >= 0 else self.tape.place

    @property
    def built(self) -> Place | None:
        """The line that constructed the model."""
        step = self.tape.model
        return self.tape.built[self.tape.steps[step].module] if step >= 0 else None

    @property
    def loss_place(self) -> Place | None:
        """The line that computes the loss."""
        for word in ("loss", "entropy"):
            for step in self.tape.steps:
                if step.place is not None and word in step.name.lower():
                    return step.place
        return self.tape.place

    @property
    def classes(self) -> int:
        """The number of classes, 0 in regression."""
        task = self.task
        if task.kind in ("cross_entropy", "nll_loss"):
            return task.pred.shape[1] if task.pred.dim() > 1 else task.pred.shape[0]
        return 2 if task.kind.startswith("binary") else 0

    @property
    def stacked(self) -> bool:
        """Whether a batch was put together from samples: by a loader, or by picking rows."""
        x = self.tape.data[self.input]
        return x.collated or x.picked

    @property
    def single(self) -> bool:
        """Whether there is one target (a class, a vector) for each sample, not for each token."""
        task = self.task
        if not self.batch or task.pred.dim() == 0 or task.pred.shape[0] != self.batch:
            return False
        return task.pred.dim() <= 2

    def sliced(self, picks: list[int]) -> dict[int, Tensor]:
        """The data of some samples only."""
        return {
            index: self.tape.data[index].value.index_select(
                axis, torch.tensor(picks, device=self.tape.data[index].value.device)
            )
            for index, axis in self.axes.items()
        }

    def calm(self, *, final: bool = False) -> Replay:
        """A replay in evaluation mode, without any dropout."""
        replay = Replay(self.tape, final=final).eval()
        no_dropout(replay.modules)
        return replay

    def predict(
        self, replay: Replay, data: Mapping[int, Tensor] | None = None, seed: int = 0
    ) -> list[Told]:
        """The supervised losses, with some data replaced; the same draws each time."""
        torch.manual_seed(seed)
        spy = Spy(dropout=False)
        with torch.enable_grad(), spy:
            replay.loss(data)
        if len(spy.told) <= max(self.tasks):
            raise CannotReplayError("a replay calls other losses than the run")
        return [spy.told[index] for index in self.tasks]


def subject(tapes: Iterable[Tape]) -> Subject:
    """The subject among these tapes."""
    sized = sorted(tapes, key=_size, reverse=True)
    if not sized:
        raise NoSubjectError("no training pass could be recorded")
    first: NoSubjectError | None = None
    for tape in sized:
        try:
            return _judged(tape)
        except CannotReplayError as error:
            first = first or NoSubjectError(str(error))
        except NoSubjectError as error:
            first = first or error
        except Exception as error:
            first = first or NoSubjectError(f"a replay fails: {type(error).__name__}: {error}")
    assert first is not None
    raise first


def _size(tape: Tape) -> int:
    return max((sum(p.numel() for p in module.parameters()) for module in tape.modules), default=0)


def _judged(tape: Tape) -> Subject:
    replay = Replay(tape)
    replay.verify()
    spy = Spy(replay, dropout=False)
    with torch.enable_grad(), spy:
        replay.loss(recorded=True)
    tasks = [index for index, told in enumerate(spy.told) if _supervised(told)]
    if not tasks:
        raise NoSubjectError("no loss compares predictions with targets that vary", apt=False)
    told = [spy.told[index] for index in tasks]
    if any(_contrastive(t) for t in told):
        raise NoSubjectError(
            "the loss tells samples of a batch from each other (contrastive)", apt=False
        )
    target = max(told[0].wanted_from, key=lambda i: tape.data[i].value.numel())
    chosen = _input(tape, told[0], target)
    new = Subject(tape, tasks, told, chosen, target)
    _find_batch(new)
    return new


def _supervised(told: Told) -> bool:
    if WEIGHTS in told.wanted_from or not told.wanted_from or WEIGHTS not in told.made_from:
        return False
    if not told.made_from - {WEIGHTS}:
        return False
    target = told.target.detach()
    return target.numel() > 1 and bool((target != target.flatten()[0]).any())


def _contrastive(told: Told) -> bool:
    """Every sample its own class, one class for each sample of the batch."""
    target, pred = told.target, told.pred
    if told.kind not in ("cross_entropy", "nll_loss") or not is_index(target) or pred.dim() != 2:
        return False
    n, classes = pred.shape
    return n > 2 and classes >= n and classes <= 2 * n and len(target.unique()) == n


def _input(tape: Tape, told: Told, target: int) -> int:
    """The model's main input: what its call is given first that feeds the prediction."""
    feeding = told.made_from - {WEIGHTS}
    ordered: list[int] = []
    steps = [tape.steps[tape.model]] if tape.model >= 0 else []
    for step in (*steps, *tape.steps):
        ordered += [arg.index for arg in found((step.args, step.kwargs), Outside)]
    candidates = [i for i in dict.fromkeys(ordered) if i in feeding and tape.data[i].value.dim()]
    others = [i for i in candidates if i != target]
    if not others and not candidates:
        raise NoSubjectError("what the model is fed is not known")
    return (others or candidates)[0]


def _find_batch(new: Subject) -> None:
    """Which dimension of the input and of the target counts the samples."""
    x, y = new.tape.data[new.input], new.tape.data[new.target]
    x_shape, y_shape = tuple(x.value.shape), tuple(y.value.shape)
    pairs = [
        (i, j)
        for i in range(min(2, len(x_shape)))
        for j in range(min(2, len(y_shape)))
        if x_shape[i] == y_shape[j]
    ]
    if not pairs:
        if len(x_shape) > 1 and y_shape[:1] == (x_shape[0] * x_shape[1],):
            new.fold = (*x_shape[:2], *y_shape[1:])
        return
    stacked = x.collated or y.collated
    if len(y_shape) == 1 or stacked:
        pairs = [pair for pair in pairs if pair[1] == 0] or pairs
    first = (0, 0) if (0, 0) in pairs else pairs[0]
    if x_shape[first[0]] < 2:
        return
    new.batch = x_shape[first[0]]
    new.axes = {new.input: first[0], new.target: first[1]}
    one = len(y_shape) == 1 and (len(x_shape) > 2 or x.value.is_floating_point())
    alone = len(pairs) == 1 and len(x_shape) > 1
    new.sure = first == (0, 0) and (stacked or one or alone)
    _find_others(new, first[0])


def _find_others(new: Subject, axis: int) -> None:
    """The other data that hold something for each sample: lengths, masks, states."""
    for index, datum in enumerate(new.tape.data):
        shape = tuple(datum.value.shape)
        if index in new.axes or not shape or new.batch not in shape[:2]:
            continue
        if shape[0] == new.batch and (axis == 0 or len(shape) == 1):
            new.axes[index] = 0
        elif len(shape) > 1 and shape[1] == new.batch:
            new.axes[index] = 1


def fits(new: Subject) -> bool:
    """Whether samples can be picked: in another order all data still belong together."""
    if not new.batch:
        return False
    replay = new.calm()
    order = [*range(1, new.batch), 0]
    try:
        plain = _losses(new, replay, {})
        moved = _losses(new, replay, new.sliced(order))
        half = new.predict(replay, new.sliced(order[: max(2, new.batch // 2)]))
    except Exception:
        return False
    if any(t.pred.shape == h.pred.shape for t, h in zip(new.told, half, strict=True)):
        return False
    return all(abs(a - b) <= 1e-3 * max(abs(a), 1e-3) for a, b in zip(plain, moved, strict=True))


def _losses(new: Subject, replay: Replay, data: Mapping[int, Tensor]) -> list[float]:
    return [float(pure(told).detach()) for told in new.predict(replay, data)]


def pure(told: Told) -> Tensor:
    """The mean loss without weights and smoothing, above the least that soft targets allow."""
    import torch.nn.functional as F

    pred, target = told.pred, told.target
    ignored = int(
        told.own.get("ignore_index", -100) if told.own.get("ignore_index") is not None else -100
    )
    with torch.autocast(pred.device.type, enabled=False):
        pred = pred.float()
        if told.kind == "cross_entropy":
            if is_index(target):
                return F.cross_entropy(pred, target, ignore_index=ignored)
            target = target.float()
            least = -(target * target.clamp_min(1e-12).log()).sum(1).mean()
            return F.cross_entropy(pred, target) - least
        if told.kind == "nll_loss":
            return F.nll_loss(pred, target, ignore_index=ignored)
        if told.kind.startswith("binary"):
            target = target.float()
            least = F.binary_cross_entropy(target, target)
            if told.kind.endswith("logits"):
                return F.binary_cross_entropy_with_logits(pred, target) - least
            return F.binary_cross_entropy(pred.clamp(0, 1), target) - least
        return ((pred - target.float()) ** 2).mean()


def pure_each(told: Told) -> Tensor:
    """The same for each sample, where there is one prediction for each."""
    rows = [
        replace(told, pred=told.pred[i : i + 1], target=told.target[i : i + 1])
        for i in range(len(told.pred))
    ]
    return torch.stack([pure(row) for row in rows])


def spread(told: Told) -> float:
    """What the best constant prediction gets: the targets' entropy, or their variance."""
    target = told.target.detach()
    if told.kind in ("cross_entropy", "nll_loss"):
        if not is_index(target):
            shares = target.float().movedim(1, -1).flatten(0, -2).mean(0)
        else:
            kept = target[target >= 0]
            shares = torch.bincount(kept.flatten()).float() / max(1, kept.numel())
        return float(-(shares * shares.clamp_min(1e-12).log()).sum())
    if told.kind.startswith("binary"):
        share = target.float().mean(0).clamp(1e-6, 1 - 1e-6)
        return float((-(share * share.log() + (1 - share) * (1 - share).log())).mean())
    return float(target.float().var(0, unbiased=False).mean()) if target.shape[0] > 1 else math.nan
