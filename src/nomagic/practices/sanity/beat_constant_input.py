"""A model that is fed nothing must do worse than yours; otherwise yours does not read its input.

Losses fall even then: the model learns how frequent the classes are. Only the comparison shows whether it learns
more than that.

Against: hard tasks need longer than a short run; on noise nothing beats a constant.

Check: after the run, the final weights predict the first training batch, in evaluation mode, once as it was and
several times with every sample's input exchanged for another's. If predictions do not change at all the
input is not read (fault). If, after 100 steps, the loss with the right inputs is not smaller by two standard errors, and
not smaller than that of the best constant, it is a warning.
"""

from collections.abc import Iterator

from nomagic.probes.constants import ConstantInput, Worth
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("KAR",)
FEWEST_STEPS = 100  # before that a healthy model may have learnt nothing yet
FEWEST_SAMPLES = 16  # for a standard error that means something
CLEAR = 2.0  # standard errors
UNREAD = 1e-6  # change of any prediction


def check(inputs: ConstantInput) -> Iterator[Outcome]:
    """Models whose input is worth nothing."""
    yield from inputs.unanswered()
    for worth in inputs:
        if worth.moves < UNREAD:
            yield unread(worth)
        elif worth.steps < FEWEST_STEPS or worth.samples < FEWEST_SAMPLES:
            yield NotApplicable(f"{worth.steps} steps and batches of {worth.samples} are too few to tell")
        elif worth.z < CLEAR and worth.real >= worth.constant:
            yield worthless(worth)


def unread(worth: Worth) -> Finding:
    """The finding for predictions that do not depend on the input."""
    return Finding(
        message="the predictions do not depend on the input",
        seen=f"after {worth.steps} steps, other samples' inputs change no prediction of {worth.samples} samples by "
        f"more than {worth.moves:.1g}",
        fix="look for dead units, saturated layers, a detached branch or an input that is overwritten",
        severity="fault",
        place=worth.place,
    )


def worthless(worth: Worth) -> Finding:
    """The finding for a model that is no better with the right inputs."""
    return Finding(
        message="the model is no better than one that does not see its input",
        seen=f"after {worth.steps} steps the loss on a training batch of {worth.samples} is {worth.real:.3g}, with other "
        f"samples' inputs {worth.shuffled:.3g}; the best constant gets {worth.constant:.3g}",
        fix="check that inputs and targets belong together and that the learning rate suits; then train longer",
        place=worth.place,
    )
