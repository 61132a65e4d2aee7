"""Fix random seeds so that a re-run gives the same outcome.

A difference between two runs can then only come from what was changed between them.

Against: one fixed seed hides how much the outcome varies; fix it for debugging, vary it for
claims. Parallel arithmetic can differ in the last bits whatever the seed.

Check: a global generator of torch, numpy or Python that was drawn from and never seeded is a
note, on the first line that built a part of the training. Whether it was drawn from is seen by
its state.
"""

from collections.abc import Iterator

from nomagic.probes.seeds import Seeds
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("KAR", "BOU21", "TP")
CALLS = {
    "torch": "torch.manual_seed(0)",
    "numpy": "numpy.random.seed(0)",
    "random": "random.seed(0)",
}


def check(seeds: Seeds) -> Iterator[Outcome]:
    """Global generators that were drawn from without a seed."""
    drawn = [row.library for row in seeds if row.drawn and not row.seeded]
    if drawn:
        yield Finding(
            message="a re-run will give another outcome: random numbers are drawn without a seed",
            seen=f"drawn from and never seeded: {', '.join(drawn)}",
            fix=f"{'; '.join(CALLS[library] for library in drawn)} at the top of the script",
            severity="note",
            place=seeds.first,
        )
    elif not any(row.drawn for row in seeds):
        yield NotApplicable("no random number was drawn from a global generator")
