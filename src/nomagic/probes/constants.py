"""What the inputs are worth: the final loss with the right inputs, and with other samples'."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nomagic.probes.experiment import Experiment
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

    from nomagic.replay import Told
    from nomagic.subject import Subject

ORDERS = 4
"""Different ways of giving each sample another one's input."""


@dataclass(frozen=True, slots=True)
class Worth:
    """The final model on the first batch of the training.

    ``real`` is its loss with the right inputs, ``shuffled`` with those of other samples; ``z``
    how many standard errors the first lies below the second. ``moves`` is the largest change of
    a prediction when its input is another one's, relative to the spread of the targets or
    logits; 0 means that the input is not read. ``steps`` were made; ``early`` and ``late`` are
    the script's own training losses.
    """

    place: Place | None
    kind: str
    classes: int
    samples: int
    real: float
    shuffled: float
    constant: float
    z: float
    moves: float
    steps: int
    early: float = math.nan
    late: float = math.nan


class ConstantInput(Experiment[Worth]):
    """One row: what reading the input is worth at the end of the training."""

    seconds: ClassVar[float] = 2.0

    def attempt(self, subject: Subject) -> Iterator[Worth]:
        """Give every sample another one's input."""
        from nomagic.subject import NoSubjectError, spread

        if not subject.batch or not subject.single:
            raise NoSubjectError("the predictions are not one for each sample", apt=False)
        if subject.tape.data[subject.target].computed:
            raise NoSubjectError("the targets change as the training goes on", apt=False)
        replay = subject.calm(final=True)
        base = subject.predict(replay)[0]
        real = _each(base)
        x = subject.tape.data[subject.input].value
        axis = subject.axes[subject.input]
        others: list[Tensor] = []
        moves = 0.0
        for order in range(ORDERS):
            shift = 1 + order * max(1, (subject.batch - 1) // ORDERS)
            told = subject.predict(replay, {subject.input: x.roll(shift, axis)})[0]
            others.append(_each(told))
            moves = max(moves, float((told.pred - base.pred).detach().abs().max()))
        shuffled = sum(others[1:], others[0]) / len(others)
        gain = shuffled - real
        error = float(gain.std() / math.sqrt(len(gain)))
        yield Worth(
            place=subject.place,
            kind=base.kind,
            classes=subject.classes,
            samples=subject.batch,
            real=float(real.mean()),
            shuffled=float(shuffled.mean()),
            constant=spread(base),
            z=float(gain.mean()) / error if error > 0 else 0.0,
            moves=moves,
            steps=self.run.steps or self.run.tick,
            early=subject.tape.value,
            late=subject.tape.late,
        )


def _each(told: Told) -> Tensor:
    """The loss of each sample."""
    from nomagic.subject import pure_each

    return pure_each(told).detach()
