"""Switch between train() and eval(): score in evaluation mode, learn in training mode.

Dropout and batch norm behave differently in the two modes. Scored in training mode, a network
with dropout looks worse than it is, and batch norm both depends on the rest of the batch and
learns its running statistics from held-out data. Trained in evaluation mode, dropout regularises
nothing and batch norm normalises with statistics that never move.

Against: MC dropout keeps dropout on deliberately, to see how the answers spread. Fine-tuning may
freeze norm layers in evaluation mode.

Check: an evaluation pass (no gradients, or from a loader that never feeds a backward) whose
output is held against labels while dropout or norm layers are in training mode is a fault.
Sampling the same input repeatedly with only dropout on is MC dropout, and silent; so are passes
that are not scored (recalibrating batch norm, teachers, generators). Training steps with the
whole network in evaluation mode, though it holds trainable dropout or norm layers, are a warning.
"""

from collections.abc import Iterator

from nomagic.probes.modes import Mode, Modes
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome

SOURCES = ("KTW", "000", "001")


def check(modes: Modes) -> Iterator[Outcome]:
    """Evaluation passes in training mode, and training passes in evaluation mode."""
    if not any(mode.dropouts or mode.norms or mode.idle for mode in modes):
        yield NotApplicable("the network has no dropout and no norm layer with running statistics")
        return
    found = False
    for mode in modes:
        if scores_in_training_mode(mode):
            found = True
            yield scored(mode)
        elif learns_in_evaluation_mode(mode):
            found = True
            yield learnt(mode, modes)
    if not found and not any(mode.trained for mode in modes):
        yield CouldNotLook("no pass was seen to lead to a loss that an optimizer step followed")


def scores_in_training_mode(mode: Mode) -> bool:
    """Whether labelled data that is not being learnt from meets active dropout or batch
    statistics.
    """
    if mode.trained or not (mode.dropouts or mode.norms):
        return False
    sampling = mode.repeated and not mode.norms
    evaluated = mode.scored > 0 or (mode.held_out and mode.labelled)
    return evaluated and not sampling and (not mode.grads or mode.held_out)


def learns_in_evaluation_mode(mode: Mode) -> bool:
    """Whether a trainable network, all of it in evaluation mode, is being trained."""
    awake = mode.dropouts or mode.norms
    return mode.trained and mode.trainable and not mode.training and bool(mode.idle) and not awake


def scored(mode: Mode) -> Finding:
    """The finding for an evaluation in training mode."""
    parts = listed(mode.dropouts + mode.norms)
    harm = (
        "batch norm normalises held-out data by its own batch and learns its statistics from it"
        if mode.norms
        else "units are dropped at random while the score is taken"
    )
    return Finding(
        message=f"{mode.module} is scored on labelled data in training mode",
        seen=f"{mode.calls} evaluation calls with {parts} in training mode: {harm}",
        fix="call model.eval() before the evaluation and model.train() after it",
        severity="fault",
        place=mode.place,
    )


def learnt(mode: Mode, modes: Modes) -> Finding:
    """The finding for training in evaluation mode."""
    before = any(other.trained and other.training and other.first < mode.first for other in modes)
    since = f"since backward {mode.first + 1}, " if before else ""
    return Finding(
        message=f"{mode.module} is trained in evaluation mode",
        seen=f"{since}{mode.calls} training calls with {listed(mode.idle)} in evaluation mode",
        fix="call model.train() at the start of every epoch"
        if before
        else "call model.train() before training",
        place=mode.place,
    )


def listed(names: tuple[str, ...], most: int = 3) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
