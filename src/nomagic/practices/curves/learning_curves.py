"""Read training and validation curves together: they name the trouble.

Good on the training data and clearly worse on held-out data is variance (overfitting): more data,
augmentation, weight decay, a smaller net, an earlier stop. Poor on both is bias: a larger net,
longer training, better optimisation.

Against: dropout and augmentation inflate the training loss, so the gap is a lower bound; double
descent blurs the U.

Check: the last training scores against the last evaluation, each with its half-width (1.96
standard errors). A gap of more than two combined half-widths with the training score near its
ceiling is a note "variance"; a training loss still above half of what a constant gets, with no
gap, is a note "bias". A held-out loss above what a constant gets, while the training loss is
below half of it, is a warning: the network memorised and its confidence misleads.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nomagic.probes.evaluations import Evaluations, Score
from nomagic.words import Finding, NotApplicable, Outcome, Place

SOURCES = ("004", "CS231", "TP")
NEAR_CEILING = 0.9
LOOKS = 10  # training scores at the end that are read together
LATE = 0.7  # of the run, where training scores are read
SAMPLES = 100  # fewer evaluated samples say nothing about a gap


@dataclass(frozen=True)
class End:
    """Where one curve ends: accuracy and loss with half-widths, and the loss of a constant."""

    accuracy: float
    accuracy_half: float
    loss: float
    loss_half: float
    constant: float
    samples: int
    place: Place | None


def check(evaluations: Evaluations) -> Iterator[Outcome]:
    """The diagnosis at the end of the run."""
    last = next(
        (s for s in reversed(evaluations.rows) if s.evaluation and held_out(s, evaluations)), None
    )
    training = [
        s for s in evaluations if not s.evaluation and last is not None and s.tick <= last.tick
    ]
    if last is None or not training:
        yield NotApplicable("no training scores with a held-out evaluation were seen")
        return
    kind = training[-1].kind
    late = [s for s in training if s.kind == kind and s.tick >= LATE * last.tick]
    if not late:
        yield NotApplicable("no training score near the end was seen")
        return
    train = end(late[-LOOKS:])
    held = end([last])
    if held.samples < SAMPLES:
        yield NotApplicable(
            f"the last evaluation has {held.samples} samples, too few to read a gap from"
        )
        return
    yield from diagnose(train, held)


def held_out(score: Score, scores: Evaluations) -> bool:
    """Whether an evaluation was not of the loader that feeds training."""
    fed = {other.loader for other in scores if not other.evaluation}
    return score.loader is None or score.loader not in fed


def end(scores: Sequence[Score]) -> End:
    """Several scores read as one."""
    counted = sum(s.counted for s in scores)
    samples = sum(s.samples for s in scores)
    accuracy = sum(s.correct for s in scores) / counted if counted else math.nan
    lost = [s for s in scores if not math.isnan(s.loss)]
    loss = sum(s.loss for s in lost) / len(lost) if lost else math.nan
    spread = sum(s.spread for s in lost) / len(lost) if lost else math.nan
    constants = [s.baseline for s in scores if not math.isnan(s.baseline)]
    return End(
        accuracy,
        (
            1.96 * math.sqrt(max(accuracy * (1 - accuracy), 0.25 / counted) / counted)
            if counted
            else math.nan
        ),
        loss,
        1.96 * spread / math.sqrt(max(1, samples)),
        sum(constants) / len(constants) if constants else math.nan,
        samples,
        scores[-1].place,
    )


def diagnose(train: End, held: End) -> Iterator[Outcome]:
    """Memorised, variance, bias, or nothing to say."""
    gap = train.accuracy - held.accuracy
    noise = train.accuracy_half + held.accuracy_half
    if train.loss < 0.5 * held.constant and held.loss - held.loss_half > held.constant:
        yield Finding(
            message=(
                "variance: the network memorised, held-out data is predicted worse than by a"
                " constant"
            ),
            seen=(
                f"loss {train.loss:.3g} in training, {held.loss:.3g} ± {held.loss_half:.2g} held"
                f" out; a constant gets {held.constant:.3g}"
            ),
            fix=(
                "stop earlier and keep the best checkpoint; more data, augmentation, weight decay"
                " or a smaller net"
            ),
            place=held.place,
        )
    elif train.accuracy >= NEAR_CEILING and gap > 2 * noise:
        yield Finding(
            message="variance: training is near its ceiling, held-out data lags behind",
            seen=(
                f"accuracy {train.accuracy:.1%} in training, {held.accuracy:.1%} ±"
                f" {held.accuracy_half:.1%} held out"
            ),
            fix="more data or augmentation, weight decay, dropout, or an earlier stop",
            severity="note",
            place=held.place,
        )
    elif train.loss > 0.5 * train.constant and abs(gap) < noise:
        yield Finding(
            message="bias: the network does not even fit its training data",
            seen=(
                f"training loss {train.loss:.3g}, a constant gets {train.constant:.3g}; no gap to"
                " held-out data"
            ),
            fix="train longer, raise the learning rate or the size of the network",
            severity="note",
            place=train.place,
        )
