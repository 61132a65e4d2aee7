"""How many predictions of an image classifier change when the image moves by one pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

    from nomagic.subject import Subject

IMAGES = 256
SMALLEST = 8
"""Pixels of width and height below which a pixel is too much of the picture."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One image classifier, with the weights at the end of the run.

    ``flips`` is the share of predictions that change, over ``moves`` moves of ``images`` images
    by one pixel; ``errors`` the share of wrong predictions. ``strided`` names the first
    convolution that skips pixels, ``place`` where it was constructed, ``pooled`` says whether
    there is any pooling.
    """

    place: Place | None
    flips: float
    errors: float
    images: int
    moves: int
    size: tuple[int, int]
    strided: str = ""
    pooled: bool = False


class Shifts(Experiment[Shift]):
    """One row for an image classifier."""

    seconds: ClassVar[float] = 2.0

    def attempt(self, subject: Subject) -> Iterator[Shift]:
        """Move the images by one pixel in four directions."""
        from nomagic.subject import NoSubjectError

        x = subject.tape.data[subject.input].value
        if x.dim() != 4 or min(x.shape[2:]) < SMALLEST or not _classifies(subject):
            raise NoSubjectError("no classifier of images", apt=False)
        place, strided, pooled = _layers(subject)
        if not strided and not pooled:
            raise NoSubjectError(
                "the model has no convolution or pooling that skips pixels", apt=False
            )
        replay = subject.calm(final=True)
        base = subject.predict(replay)[0]
        classes = base.pred.argmax(1)
        flips = [
            float(
                (subject.predict(replay, {subject.input: moved})[0].pred.argmax(1) != classes)
                .float()
                .mean()
            )
            for moved in _moved(x)
        ]
        wrong = float((classes != base.target).float().mean())
        size = (x.shape[2], x.shape[3])
        yield Shift(
            place, sum(flips) / len(flips), wrong, len(x), len(flips), size, strided, pooled
        )


def _classifies(subject: Subject) -> bool:
    return (
        subject.single
        and subject.task.kind in ("cross_entropy", "nll_loss")
        and subject.task.target.dim() == 1
    )


def _moved(x: Tensor) -> Iterator[Tensor]:
    import torch.nn.functional as F

    height, width = x.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        yield padded[:, :, down : down + height, right : right + width]


def _layers(subject: Subject) -> tuple[Place | None, str, bool]:
    """The first strided convolution and whether there is a pooling layer."""
    from torch import nn

    from nomagic.replay import Replay, Spy

    with Spy() as spy:
        subject.calm().loss()
    pooled = any("pool" in name and "adaptive" not in name for name in spy.names)
    strided: tuple[Any, str] = (None, "")
    for index, root in enumerate(Replay(subject.tape).modules):
        for name, part in root.named_modules():
            if isinstance(part, nn.Conv2d) and max(part.stride) > 1 and not strided[1]:
                strided = (subject.tape.places[index].get(name), name)
    return strided[0], strided[1], pooled
