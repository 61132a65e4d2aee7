"""Whether batch norm behaves in evaluation as it did in training, with the final weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import nn

    from nomagic.replay import Replay
    from nomagic.subject import Subject


@dataclass(frozen=True, slots=True)
class NormGap:
    """One model with batch norm: its loss as trained and as deployed.

    ``batch_loss`` uses the batch's own statistics, ``running_loss`` the running ones, on the
    same ``batch`` samples; ``constant`` is what the best constant prediction gets. ``warmed``
    is the smallest momentum x steps of a layer, ``unmoved`` names a layer whose running
    statistics are those of a fresh one.
    """

    place: Place | None
    layer: str
    layers: int
    kind: str
    classes: int
    batch: int
    batch_loss: float
    running_loss: float
    constant: float
    warmed: float
    unmoved: str = ""


class NormGaps(Experiment[NormGap]):
    """One row if the model has batch norm layers that were trained."""

    seconds: ClassVar[float] = 2.0

    def attempt(self, subject: Subject) -> Iterator[NormGap]:
        """Compare the two on copies with the final weights."""
        from nomagic.subject import NoSubjectError, pure, spread

        calm = subject.calm(final=True)
        layers = _trained(subject, calm)
        if not layers:
            raise NoSubjectError("no batch norm layer was trained with batch statistics", apt=False)
        running = subject.predict(calm)[0]
        lively = subject.calm(final=True)
        for _, _, layer in _trained(subject, lively):
            layer.train()
        own = subject.predict(lively)[0]
        place, name, _ = layers[0]
        unmoved = next((name for _, name, layer in layers if _fresh(layer)), "")
        yield NormGap(
            place=place,
            layer=name,
            layers=len(layers),
            kind=running.kind,
            classes=subject.classes,
            batch=subject.batch,
            batch_loss=float(pure(own).detach()),
            running_loss=float(pure(running).detach()),
            constant=spread(running),
            warmed=min(_warmed(layer) for _, _, layer in layers),
            unmoved=unmoved,
        )


def _trained(subject: Subject, replay: Replay) -> list[tuple[Place | None, str, Any]]:
    """The batch norm layers that were trained with batch statistics: place, name, layer."""
    from torch import nn

    found: list[tuple[Place | None, str, Any]] = []
    seen: set[int] = set()
    for step in subject.tape.steps:
        if step.module < 0:
            continue
        root = replay.modules[step.module]
        places = subject.tape.places[step.module]
        for (name, part), training in zip(root.named_modules(), step.modes, strict=False):
            norm = isinstance(part, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
            if norm and training and part.running_mean is not None and id(part) not in seen:
                seen.add(id(part))
                found.append((places.get(name), name or type(part).__name__, part))
    return found


def _fresh(layer: nn.BatchNorm2d) -> bool:
    mean, var = layer.running_mean, layer.running_var
    assert mean is not None
    assert var is not None
    return not bool(mean.any()) and bool((var == 1).all())


def _warmed(layer: nn.BatchNorm2d) -> float:
    """Momentum times steps: how far the running statistics have left their start."""
    if layer.momentum is None or layer.num_batches_tracked is None:
        return math.inf
    return layer.momentum * int(layer.num_batches_tracked)
