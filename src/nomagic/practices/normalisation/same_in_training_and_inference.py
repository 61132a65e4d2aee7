"""A model should behave the same in training and inference; batch norm does not.

In training batch norm uses the statistics of the batch, in inference those that it has
collected on the way. With batches of a few samples, or a momentum too small for the length of
the run, these are two different models.

Against: the discrepancy is also what regularises; smaller batches regularise more.

Check: after the run, with the final weights, the loss of a training batch with its own
statistics and with the running ones. Measured on digits their ratio was 1.0 for batches of 128,
1.2 for 32, about 2 for 8, and 4 for 4. Outside 0.67 … 1.5 and more than 0.1 nat (regression: 10
% of the variance) apart it is a warning, if the running statistics are the worse ones or the
batch has at most 8 samples. Running statistics that never moved are a fault, if the loss shows
it.
"""

from collections.abc import Iterator

from nomagic.probes.norm_gap import NormGap, NormGaps
from nomagic.words import Finding, Outcome

SOURCES = ("000", "001", "IOF15", "KAR")
RATIO = 1.5
NATS = 0.1
VARIANCE = 0.1  # of the targets, in regression
SMALL = 8  # samples; below, the batch's own statistics are noise
WARM = 3.0  # momentum x steps: 95 % of the way from the start


def check(gaps: NormGaps) -> Iterator[Outcome]:
    """Models that behave differently as deployed."""
    yield from gaps.unanswered()
    for gap in gaps:
        if apart(gap) and (gap.running_loss > gap.batch_loss or gap.batch <= SMALL):
            yield different(gap)


def apart(gap: NormGap) -> bool:
    """Whether the two losses differ by more than chance."""
    low, high = sorted((gap.batch_loss, gap.running_loss))
    least = NATS if gap.classes else VARIANCE * gap.constant
    return high > RATIO * low and high - low > least


def different(gap: NormGap) -> Finding:
    """The finding for batch norm that is two models."""
    fix = (
        f"use larger batches than {gap.batch}, or a layer that does not depend on the batch "
        "(GroupNorm, LayerNorm)"
    )
    reason = ""
    if gap.unmoved:
        reason = f"; the running statistics of {gap.unmoved} never moved"
        fix = (
            "let batch norm collect statistics: a momentum above 0, forward passes in training mode"
        )
    elif gap.warmed < WARM:
        reason = f"; momentum x steps is only {gap.warmed:.2g}"
        fix = (
            "raise the momentum, train longer, or recompute the statistics "
            "(torch.optim.swa_utils.update_bn)"
        )
    return Finding(
        message="the model behaves differently in training and inference",
        seen=f"on one training batch of {gap.batch} the loss is {gap.batch_loss:.3g} with the "
        f"batch's statistics and {gap.running_loss:.3g} with the running ones "
        f"(batch norm layers: {gap.layers}){reason}",
        fix=fix,
        severity="fault" if gap.unmoved else "warning",
        place=gap.place,
    )
