"""Whether a sample's prediction depends on the other samples, or on the answer itself.

One sample of the batch is replaced, on a copy in evaluation mode, and the predictions that
change are compared with the targets that belong to it. In sequences that are to predict their
next element, one element.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

    from nomagic.replay import Replay, Told
    from nomagic.subject import Subject

CHANGED = 1e-5
"""Relative to the spread of the predictions; untouched rows stay the same to the last bit."""
SAMPLES = 6
"""Samples that are replaced, one after the other."""
NEAR = (0, 1, 2, 3, 4, 8, 16, 32)
"""Samples that are replaced to find the cause: neighbours, and further and further away."""
MATCHED = 0.5
"""Share of a sample's own predictions that change with it; fewer, and they belong to others."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a prediction depends on something that it must not see.

    ``across`` is "samples" (other samples of the batch) or "time" (the element that it has to
    predict). ``share`` is the part of the foreign predictions that changed. ``cause`` is the
    name of the function that mixed, ``kind`` what this is: "reshape", "recurrent", "attention",
    "softmax", "statistics", "norm", "order" (predictions and targets are in different orders) or
    "other"; ``shapes`` before and after. ``sure``: there is no doubt about which dimension counts
    the samples, ``stacked``: samples were put together.
    """

    across: str
    place: Place | None
    share: float
    batch: int
    cause: str = ""
    kind: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()
    sure: bool = True
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at and found clean: "samples" or "time"."""

    across: str


class Mixing(Experiment[Leak | Checked]):
    """Leaks across samples and across time, or that there are none."""

    seconds: ClassVar[float] = 4.0

    def attempt(self, subject: Subject) -> Iterator[Leak | Checked]:
        """Replace samples, then elements of sequences."""
        from nomagic.subject import NoSubjectError

        rows = [*_samples(subject, self.deadline), *_times(subject, self.deadline)]
        if not rows:
            raise NoSubjectError("which dimension counts the samples is not known")
        yield from rows


# -- samples ----------------------------------------------------------------------------


def _samples(subject: Subject, deadline: float) -> Iterator[Leak | Checked]:
    """Try the dimension that counts the samples; of a flattened target both that may."""
    sides = [(subject.axes[subject.input], subject.batch)] if subject.batch else []
    if subject.fold:
        sides = [(axis, subject.fold[axis]) for axis in (0, 1) if subject.fold[axis] > 1]
    seen = [_side(subject, axis, size, deadline) for axis, size in sides]
    if not seen or any(one is None for one in seen):
        return
    shares = [one for one in seen if one is not None]
    sure = subject.tape.data[subject.input].collated if subject.fold else subject.sure
    if any(share == 0 for share, _ in shares):
        yield Checked("samples")
    elif sure:
        yield _explained(subject, sides[0], *shares[0])


def _side(subject: Subject, axis: int, size: int, deadline: float) -> tuple[float, float] | None:
    """Shares of foreign predictions that a replaced sample changes, and of its own."""
    replay = subject.calm()
    base = subject.predict(replay)[0]
    chosen = sorted({round(i * (size - 1) / (SAMPLES - 1)) for i in range(SAMPLES)})
    foreign: list[float] = []
    owned: list[float] = []
    for sample in chosen:
        new = subject.predict(replay, _replaced(subject, axis, sample))[0]
        own = _changed_targets(subject, replay, base, axis, sample)
        felt = _felt(base, new)
        if felt is None or own is None or felt.shape != own.shape or not bool(own.any()):
            return None
        foreign.append(float((felt & ~own).sum() / (~own).sum().clamp_min(1)))
        owned.append(float((felt & own).sum() / own.sum()))
        if time.perf_counter() > deadline and len(foreign) > 1:
            break
    mixing = sum(share > 0 for share in foreign) > 1
    return (sum(foreign) / len(foreign) if mixing else 0.0), sum(owned) / len(owned)


def _replaced(subject: Subject, axis: int, sample: int) -> dict[int, Tensor]:
    """The data with one sample's input replaced by another's."""
    data = subject.tape.data[subject.input].value.clone()
    rows = data.movedim(axis, 0)
    for step in range(1, len(rows)):
        other = rows[(sample + step) % len(rows)]
        if not bool((other == rows[sample]).all()):
            rows[sample] = other.clone()
            break
    return {subject.input: data}


def _changed_targets(
    subject: Subject, replay: Replay, base: Told, axis: int, sample: int
) -> Tensor | None:
    """Which of the loss's targets belong to this sample."""
    y = subject.tape.data[subject.target].value.clone()
    folded = y.view(subject.fold) if subject.fold else y
    rows = folded.movedim(axis if subject.fold else subject.axes[subject.target], 0)
    rows[sample] = _another(rows[sample], y, base)
    new = subject.predict(replay, {subject.target: y})[0]
    if new.target.shape != base.target.shape:
        return None
    return _rows(base, new.target != base.target)


def _another(row: Tensor, whole: Tensor, base: Told) -> Tensor:
    """Other targets that are as valid."""
    if row.dtype.is_floating_point:
        return 1 - row if base.kind.startswith("binary") else row + 1
    low, high = int(whole.clamp_min(0).min()), int(whole.max())
    return (low + (row - low + 1) % max(2, high - low + 1)).to(row.dtype).where(row >= 0, row)


def _rows(base: Told, mask: Tensor) -> Tensor | None:
    """A mask over targets as one over the loss's elements: class probabilities count as one."""
    if base.kind == "cross_entropy" and base.pred.dim() == mask.dim() and base.pred.dim() > 1:
        return mask.any(1)
    return mask


def _felt(base: Told, new: Told) -> Tensor | None:
    """Which predictions changed, one for each target."""
    a, b = base.pred.detach().float(), new.pred.detach().float()
    if a.shape != b.shape:
        return None
    mask = _differ(a, b)
    if base.kind in ("cross_entropy", "nll_loss") and mask.dim() > 1:
        return mask.any(1)
    return mask


def _differ(a: Tensor, b: Tensor) -> Tensor:
    if not a.dtype.is_floating_point:
        return a != b
    scale = a.std(unbiased=False) if a.numel() > 1 else a.abs()
    gap = (a - b).abs()
    return (gap > CHANGED * scale.nan_to_num(0.0).clamp_min(1e-9)) & gap.isfinite()


# -- why --------------------------------------------------------------------------------


def _explained(subject: Subject, side: tuple[int, int], share: float, owned: float) -> Leak:
    """The first function after which no dimension tells the samples apart."""
    from nomagic.mixer import first_mixer

    axis, size = side
    near = [sample for sample in NEAR if sample < size]
    found = first_mixer(subject, [_replaced(subject, axis, sample) for sample in near])
    order = not found.name and owned < MATCHED
    return Leak(
        across="samples",
        place=subject.loss_place if order else found.place or subject.place,
        share=share,
        batch=size,
        cause=found.name,
        kind="order" if order else found.kind,
        shapes=found.shapes,
        sure=subject.sure,
        stacked=subject.stacked,
    )


# -- time -------------------------------------------------------------------------------


def _times(subject: Subject, deadline: float) -> Iterator[Leak | Checked]:
    """Where an input holds the targets: whether a prediction depends on its own answer."""
    shares = [
        _answer_seen(subject, index, y, axis, shift)
        for index, y, axis, shift in _shifted(subject)
        if time.perf_counter() < deadline
    ]
    known = [share for share in shares if share is not None]
    if not known:
        return
    if min(known) > 0 and not _encodes(subject):  # else a decoder that reads one step at a time
        yield Leak("time", subject.place, min(known), subject.batch)
    elif min(known) == 0:
        yield Checked("time")


def _encodes(subject: Subject) -> bool:
    """Whether the model may be an autoencoder of sequences, whose code knows the whole sequence.

    Recurrent networks that read forwards only cannot see ahead but by way of a code; and
    codes are often drawn at random.
    """
    from torch import nn

    from nomagic.replay import Spy

    with Spy() as spy:
        subject.calm().loss()
    if spy.names & {"randn_like", "randn", "normal", "rsample"}:
        return True
    parts = [part for root in subject.tape.modules for part in root.modules()]
    rnns = [part for part in parts if isinstance(part, nn.RNNBase)]
    ahead = spy.names & {"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"}
    ahead |= spy.names & {"conv1d", "flip"}
    return bool(rnns) and not any(part.bidirectional for part in rnns) and not ahead


def _shifted(subject: Subject) -> Iterator[tuple[int, int, int, int]]:
    """Inputs that hold the targets: input, target, time dimension, how far they are ahead."""
    data = subject.tape.data
    wanted = subject.task.wanted_from - {-1}
    for index in sorted(subject.task.made_from - {-1} - wanted):
        x = data[index].value
        for other in sorted(wanted):
            y = data[other].value
            for axis in range(min(2, x.dim())):
                shift = _shift(x, y, axis)
                if shift is not None:
                    yield index, other, axis, shift
                    break


def _shift(x: Tensor, y: Tensor, axis: int) -> int | None:
    length = x.shape[axis]
    if length < 4 or x.dim() < 2 or x.dim() > 3:
        return None
    ahead = x.narrow(axis, 1, length - 1)
    if y.numel() == x.numel() and _agree(ahead, y.reshape(x.shape).narrow(axis, 0, length - 1)):
        return 1
    if y.numel() == ahead.numel() and _agree(ahead, y.reshape(ahead.shape)):
        return 1
    if y.shape == x.shape and axis == 1 and _agree(x, y):
        return 0
    return None


def _agree(x: Tensor, y: Tensor) -> bool:
    """Whether two sequences are the same, where a target is wanted, and not all one value."""
    if x.is_floating_point() != y.is_floating_point():
        return False
    wanted = y == y if y.is_floating_point() else y >= 0
    same = (x == y) & wanted
    varied = bool((x != x.flatten()[0]).any())
    return varied and int(wanted.sum()) > 8 and float(same.sum() / wanted.sum()) > 0.95


def _answer_seen(subject: Subject, index: int, other: int, axis: int, shift: int) -> float | None:
    """The share of predictions that change with the element that they have to predict."""
    replay = subject.calm()
    base = subject.predict(replay)[0]
    x, y = subject.tape.data[index].value, subject.tape.data[other].value
    sequence = x.shape if y.numel() == x.numel() else x.narrow(axis, 1, x.shape[axis] - 1).shape
    if shift == 0 and bool(_targets_at(subject, replay, base, other, y, sequence, axis, 0).any()):
        return None  # the first element is a target, too: nothing is predicted ahead
    at = sequence[axis] // 2
    own = _targets_at(subject, replay, base, other, y, sequence, axis, at)
    changed = _differing(x, axis, at + shift)
    felt = _felt(base, subject.predict(replay, {index: changed})[0])
    own = _rows(base, own)
    if felt is None or own is None or felt.shape != own.shape or not bool(own.any()):
        return None
    return float((felt & own).sum() / own.sum())


def _targets_at(
    subject: Subject,
    replay: Replay,
    base: Told,
    other: int,
    y: Tensor,
    shape: Any,
    axis: int,
    at: int,
) -> Tensor:
    moved = y.clone()
    part = moved.view(shape).select(axis, at)
    part.copy_(_another(part, y, base))
    return subject.predict(replay, {other: moved})[0].target != base.target


def _differing(x: Tensor, axis: int, at: int) -> Tensor:
    """The input with other elements at this time: those of another moment and sample."""
    new = x.clone()
    part = new.select(axis, at)
    if x.is_floating_point():
        part.add_(x.std())
    else:
        low, high = int(x.min()), int(x.max())
        part.copy_(low + (part - low + 1) % max(2, high - low + 1))
    return new
