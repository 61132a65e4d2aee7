"""Look for duplicate examples: within the training set, and above all across the splits.

A row that is both trained on and scored measures memory instead of understanding, and every such
row lifts the score for nothing. Within the training set copies weigh double without saying anything
new.

Against: copies of rare classes are made on purpose, and ensembles draw rows with replacement; blank
rows and rows of a few discrete numbers are equal by accident.

Check: a hash of each row's content, up to 50,000 rows a split, of the raw data where it lies in
arrays and of the passing batches elsewhere. Equal rows count only where columns are many and varied
enough that no two rows of the data would be equal by accident. More than 1 % of an evaluation's
rows (at least three) trained on before is a fault, 0.1 % a warning, any a note; in tables of fewer
than 32 columns 5 % and 1 %. More than 5 % copies within the training set (10 % in such tables) are
a warning, 1 % a note. Left alone: rows that are the same by index (see keep-test-clean),
evaluations on the training data as a whole, rows whose predictions met no labels while another
evaluation is clean (pseudo-labels), copies of rarer classes only, draws with replacement.
"""

from collections.abc import Iterator

from nomagic.probes.loaders import Loaders
from nomagic.probes.samples import Samples, Split
from nomagic.words import CouldNotLook, Finding, Outcome, Place, Severity

SOURCES = ("KAR", "BAR20")
LEAK = (
    0.01  # share of an evaluation: beyond it, the score moves by more than the noise of 2,500 rows
)
SOME = 0.001
NARROW = 32  # columns: below, different cases can measure the same (0.8 % of a table of wines)
ROWS = 3  # shared rows below which there is no more than a note
ALL = (
    0.95  # an evaluation with this share of trained rows is a look at the training data, on purpose
)
WITHIN = 0.05  # copies in the training set: random shifts made beforehand gave 1.3 %
FEW = 0.01  # worth a note
ENOUGH = 20  # rows of a split


def check(samples: Samples, loaders: Loaders) -> Iterator[Outcome]:
    """Rows that occur twice."""
    judged = [split for split in samples if split.rows >= ENOUGH]
    if not judged:
        yield CouldNotLook(
            "no rows of floating-point numbers were seen, or there was no time to read them"
        )
        return
    clean = any(split.role == "evaluation" and split.share <= SOME for split in judged)
    places: set[tuple[str, Place | None]] = set()
    for split in sorted(judged, key=lambda split: (-split.share, -split.copies)):
        if split.rich and (split.role, split.place) not in places:
            places.add((split.role, split.place))
            yield from (
                across(split, loaders, clean) if split.role == "evaluation" else within(split)
            )


def across(split: Split, loaders: Loaders, clean: bool) -> Iterator[Finding]:
    """Rows trained on before they were evaluated; ``clean``: another evaluation shares none."""
    if not split.shared or split.share >= ALL or by_index(split, loaders):
        return
    severity: Severity = "note"
    narrow = split.width < NARROW
    if split.shared >= ROWS and (split.scored or not clean):
        leak, some = (5 * LEAK, LEAK) if narrow else (LEAK, SOME)
        severity = "fault" if split.share > leak else "warning" if split.share > some else "note"
    yield Finding(
        message="examples of the evaluation are copies of training examples",
        seen=f"{split.shared:,} of {split.rows:,} evaluated rows ({split.share:.1%}) "
        f"were trained on, equal in all values compared; "
        f"an accuracy on them can be up to {100 * split.share:.1f} points too good",
        fix="drop duplicates before splitting, so that both copies fall on the same side",
        severity=severity,
        place=split.place,
    )


def within(split: Split) -> Iterator[Finding]:
    """Rows that the training set holds more than once."""
    allowed = WITHIN * (2 if split.width < NARROW else 1)
    if split.copies <= FEW * split.rows or split.copies < ROWS:
        return
    wanted = split.by_class or split.by_chance or split.copies <= allowed * split.rows
    why = (
        " (rarer classes only)"
        if split.by_class
        else " (as drawn with replacement)"
        if split.by_chance
        else ""
    )
    yield Finding(
        message="the training set holds copies of its own examples",
        seen=f"{split.copies:,} of {split.rows:,} rows ({split.copies / split.rows:.1%}) "
        f"equal an earlier row{why}",
        fix="drop the copies, or say on purpose how often an example counts",
        severity="note" if wanted else "warning",
        place=split.place,
    )


def by_index(split: Split, loaders: Loaders) -> bool:
    """Whether the shared rows are the same rows of one dataset: not copies."""
    if not 0 <= split.loader < len(loaders):
        return False
    return any(overlap.rows >= 0.9 * split.shared for overlap in loaders[split.loader].overlaps)
