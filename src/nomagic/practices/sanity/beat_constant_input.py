"""A model that is fed nothing must do worse than yours; otherwise yours does not read its input.

Losses fall even then: the model learns how frequent the classes are. Only the comparison shows
whether it learns more than that.

Against: hard tasks need longer than a short run; on noise nothing beats a constant.

Check: after the run, the final weights predict the first training batch, in evaluation mode,
once as it was and several times with every sample's input exchanged for another's. If
predictions do not change at all the input is not read (fault). If, after 100 steps, the loss
with the right inputs is not smaller by two standard errors, not smaller than that of the best
constant, and the training loss has not fallen, it is a warning. So is a last evaluation whose
loss and accuracy are both, within two standard errors, no better than those of the most
frequent class.
"""

import math
from collections.abc import Iterator

from nomagic.probes.constants import ConstantInput, Worth
from nomagic.probes.evaluations import Evaluations, Score
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("KAR",)
FEWEST_STEPS = 100  # before that a healthy model may have learnt nothing yet
FEWEST_SAMPLES = 16  # for a standard error that means something
FEWEST_EVALUATED = 100
CLEAR = 2.0  # standard errors
UNREAD = 1e-6  # change of any prediction
FALLEN = 0.8  # of the first loss; learning only the classes' frequencies seldom takes it lower

FIX = (
    "check that inputs and targets belong together and that the learning rate suits; "
    "then train longer"
)


def check(inputs: ConstantInput, evaluations: Evaluations) -> Iterator[Outcome]:
    """Models whose input is worth nothing."""
    last = next((score for score in reversed(evaluations.rows) if score.evaluation), None)
    if last is not None and guessing(last):
        yield no_better(last)
        return
    yield from inputs.unanswered()
    for worth in inputs:
        if worth.moves < UNREAD:
            yield unread(worth)
        elif worth.steps < FEWEST_STEPS or worth.samples < FEWEST_SAMPLES:
            yield NotApplicable(
                f"{worth.steps} steps and batches of {worth.samples} are too few to tell"
            )
        elif (
            worth.classes > 1  # the first targets of a regression may be old ones, as in Q-learning
            and worth.z < CLEAR
            and worth.real >= worth.constant
            and not worth.late < FALLEN * worth.early
        ):
            yield worthless(worth)


def guessing(score: Score) -> bool:
    """Whether an evaluation is no better than always saying the most frequent class."""
    if score.step < FEWEST_STEPS or score.counted < FEWEST_EVALUATED or math.isnan(score.loss):
        return False
    share = max((seen for seen, _ in score.classes.values()), default=0) / score.counted
    error = math.sqrt(max(share * (1 - share), 1e-9) / score.counted)
    spread = 0.0 if math.isnan(score.spread) else score.spread / math.sqrt(score.counted)
    right = score.accuracy > share + CLEAR * error
    return 0 < share < 1 and not right and score.loss >= score.baseline - CLEAR * spread


def no_better(score: Score) -> Finding:
    """The finding for an evaluation at chance."""
    share = max(seen for seen, _ in score.classes.values()) / score.counted
    return Finding(
        message="the model is no better than a constant",
        seen=(
            f"the last evaluation, of {score.counted} samples after {score.step} steps, has a loss"
            f" of {score.loss:.3g} and {score.accuracy:.1%} right; always the most frequent class"
            f" gets {score.baseline:.3g} and {share:.1%}"
        ),
        fix=FIX,
        place=score.place,
    )


def unread(worth: Worth) -> Finding:
    """The finding for predictions that do not depend on the input."""
    return Finding(
        message="the predictions do not depend on the input",
        seen=(
            f"after {worth.steps} steps, other samples' inputs change no prediction of"
            f" {worth.samples} samples by more than {worth.moves:.1g}"
        ),
        fix=(
            "look for dead units, saturated layers, a detached branch or an input that is"
            " overwritten"
        ),
        severity="fault",
        place=worth.place,
    )


def worthless(worth: Worth) -> Finding:
    """The finding for a model that is no better with the right inputs."""
    return Finding(
        message="the model is no better than one that does not see its input",
        seen=(
            f"after {worth.steps} steps the loss on a training batch of {worth.samples} is"
            f" {worth.real:.3g}, with other samples' inputs {worth.shuffled:.3g}; the best constant"
            f" gets {worth.constant:.3g}"
        ),
        fix=FIX,
        place=worth.place,
    )
