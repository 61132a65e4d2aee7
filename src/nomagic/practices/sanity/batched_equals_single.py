"""Write the specific version first, and prove that the general, batched one gives the same.

A prediction that depends on how many or which samples keep it company, or on how much padding
it got, is another one when the model is used.

Against: it is a habit of coding more than a property of a run. Graphs, contrastive losses and
attention across the batch mix samples by design, batch norm does so while it trains.

Check: after the run, on a copy in evaluation mode, eight samples are predicted alone and in
their batch; a difference above 1e-3 of the spread of the predictions is a warning, if it comes
from the size of the batch or from a statistic over it. Where lengths differ from batch to
batch, samples are also predicted without their padding; 10 % are a warning there.
"""

from collections.abc import Iterator

from nomagic.probes.singles import Single, Singles
from nomagic.words import Finding, Outcome, Severity

SOURCES = ("KAR",)
DIFFERENT = 1e-3  # of the spread; float32 sums in another order differ by about 1e-6
PADDED = 0.1  # a convolution over the border of the padding may differ a little
MEANT = (
    "other",
    "attention",
)  # functions that may mix samples by design: matrix products, scatters


def check(singles: Singles) -> Iterator[Outcome]:
    """Predictions that differ between alone and in company."""
    yield from singles.unanswered()
    for single in singles:
        if single.what == "padding" and single.worst > PADDED:
            yield padded(single)
        elif single.what == "batch" and single.worst > DIFFERENT:
            yield differing(single)


def padded(single: Single) -> Finding:
    """The finding for padding that changes predictions."""
    return Finding(
        message="padding changes the predictions",
        seen=f"without its padding a sample's prediction differs by up to {single.worst:.2g} of "
        f"the predictions' spread ({single.samples} samples, evaluation mode)",
        fix="mask the padding: pack_padded_sequence, a key_padding_mask, a mean over the length",
        place=single.place,
    )


def differing(single: Single) -> Finding:
    """The finding for predictions that depend on the company."""
    meant = single.mixes and (single.kind in MEANT or not single.stacked)
    severity: Severity = "note" if meant else "warning"
    reason = f": {single.cause} mixes them" if single.cause else ""
    return Finding(
        message="a sample alone gets another prediction than in its batch",
        seen=f"predictions differ by up to {single.worst:.2g} of their spread between batches of "
        f"{single.batch} and of 1 ({single.samples} samples, evaluation mode){reason}",
        fix="compute nothing over the batch dimension when predicting; keep running statistics, "
        "or use a layer that normalises each sample",
        severity=severity,
        place=single.place,
    )
