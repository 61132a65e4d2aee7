"""Whether a sample gets the same prediction alone as in its batch, and without its padding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.probes.mixing import Leak, Mixing
from nomagic.probes.tapes import Tapes
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

    from nomagic.replay import Replay
    from nomagic.subject import Subject

SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Single:
    """How far predictions for a sample alone are from those in its batch.

    ``worst`` is the largest difference relative to the spread of the predictions, over
    ``samples`` samples. ``what`` is "batch" (the sample alone), or "padding" (the sample
    without its padding, where lengths differ from batch to batch). ``cause`` and ``kind`` name
    the function that mixes the samples, if any does (see `mixing`); ``stacked``: the batch was
    put together from samples.
    """

    what: str
    place: Place | None
    worst: float
    samples: int
    batch: int
    cause: str = ""
    kind: str = ""
    mixes: bool = False
    stacked: bool = True


class Singles(Experiment[Single]):
    """Differences between samples alone and in company, in evaluation mode."""

    needs: ClassVar[tuple[type[Any], ...]] = (*Experiment.needs, Mixing, Tapes)
    seconds: ClassVar[float] = 3.0

    def attempt(self, subject: Subject) -> Iterator[Single]:
        """Predict samples one by one and compare."""
        from nomagic.subject import NoSubjectError

        if not subject.single:
            raise NoSubjectError("the predictions are not one for each sample", apt=False)
        replay = subject.calm()
        if _noisy(subject, replay):
            raise NoSubjectError("the model draws random numbers", apt=False)
        whole = subject.predict(replay)[0].pred.detach().float()
        yield self._alone(subject, replay, whole)
        yield from self._trimmed(subject, replay, whole)

    def _alone(self, subject: Subject, replay: Replay, whole: Tensor) -> Single:
        from nomagic.subject import NoSubjectError

        gaps: list[float] = []
        for sample in _chosen(subject.batch):
            try:
                told = subject.predict(replay, subject.sliced([sample]))[0]
            except Exception as error:
                raise NoSubjectError(f"the model does not run on one sample: {error}") from error
            alone = told.pred.detach().float()
            gaps.append(_gap(whole, sample, alone))
            if time.perf_counter() > self.deadline:
                break
        leaks = (row for row in self.run.probe(Mixing) if isinstance(row, Leak))
        leak = next((row for row in leaks if row.across == "samples"), None)
        row = Single("batch", subject.place, max(gaps), len(gaps), subject.batch)
        if leak is not None:
            row = replace(row, place=leak.place, cause=leak.cause, kind=leak.kind, mixes=True)
        elif _routes(subject):
            row = replace(row, kind="other", mixes=True)
        return replace(row, stacked=subject.stacked)

    def _trimmed(self, subject: Subject, replay: Replay, whole: Tensor) -> Iterator[Single]:
        x = subject.tape.data[subject.input].value
        shapes = self.run.probe(Tapes).shapes.get(subject.place, set())
        widths = {shape[1] for shape in shapes if len(shape) > 1}
        if subject.axes[subject.input] != 0 or x.dim() < 2 or len(widths) < 3:
            return
        gaps: list[float] = []
        for sample in _chosen(subject.batch):
            length = _length(x, sample)
            if length is None or time.perf_counter() > self.deadline:
                continue
            data = subject.sliced([sample])
            for index, value in data.items():
                if value.dim() > 1 and value.shape[1] == x.shape[1] and index != subject.target:
                    data[index] = value[:, :length]
            alone = subject.predict(replay, data)[0].pred.detach().float()
            gaps.append(_gap(whole, sample, alone))
        if gaps:
            yield Single("padding", subject.place, max(gaps), len(gaps), subject.batch)


def _routes(subject: Subject) -> bool:
    """Whether samples are sent different ways, whose room is shared among them (experts)."""
    from nomagic.replay import Spy

    with Spy() as spy:
        subject.calm().loss()
    return bool(spy.names & ROUTES)


ROUTES = frozenset(["nonzero", "topk", "argsort", "index_add", "index_add_", "scatter", "scatter_"])


def _chosen(batch: int) -> list[int]:
    return sorted({round(i * (batch - 1) / (SAMPLES - 1)) for i in range(SAMPLES)})


def _gap(whole: Tensor, sample: int, alone: Tensor) -> float:
    """The largest difference, relative to how much the predictions vary."""
    row = whole[sample]
    if alone.numel() != row.numel():
        return float("inf")
    scale = whole.std(unbiased=False).clamp_min(1e-6)
    return float((alone.reshape(row.shape) - row).abs().max() / scale)


def _length(x: Tensor, sample: int) -> int | None:
    """The length of a padded sample: up to the last element that is not padding."""
    row = x[sample]
    flat = row if row.dim() == 1 else row.flatten(1).abs().sum(1)
    padding = 0 if row.dim() > 1 else _padding(x)
    if padding is None or bool(flat[-1] != padding):
        return None
    kept = (flat != padding).nonzero()
    return int(kept[-1]) + 1 if len(kept) else None


def _padding(x: Tensor) -> Any:
    """What most rows that end in a repetition end with."""
    import torch

    ends = x[:, -1][x[:, -1] == x[:, -2]] if x.shape[1] > 2 else x[:0, 0]
    return torch.mode(ends).values if len(ends) else None


def _noisy(subject: Subject, replay: Replay) -> bool:
    import torch

    first = [told.pred.detach() for told in subject.predict(replay)]
    second = [told.pred.detach() for told in subject.predict(replay, seed=1)]
    return not all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(first, second, strict=True)
    )
