"""Keep held-out data clean: never train on it, choose on one part, report on another, once.

In the end it is the score on data the network has not met that counts. A row that was also trained
on scores memory, and a set that many choices were made on is no longer new.

Against: small projects do with one held-out split, and a score on training rows beside the real one
is a good habit.

Check: which rows the loaders that were only evaluated share with those that fed training, by index
in the same dataset, and by content (see no-duplicates). More than 1 % of an evaluation's rows
trained on before, but not all of them, is a fault; a note where another evaluation is clean and no
labels were seen to be compared in this one, as with pseudo-labels. All of them is a fault where the
only evaluation is on a part of the training rows; where another is clean it is a training score. A
classifier scored on nothing but its training rows is a warning; a loader named "test" that is read
more than five times, a note. Folds, sweeps and several networks are compared each for itself. Not
looked at: choices between runs, and which score a checkpoint was picked by.
"""

from collections.abc import Iterator

from nomagic.probes.evaluations import Evaluations
from nomagic.probes.loaders import Loader, Loaders
from nomagic.probes.samples import Samples, Split
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome

SOURCES = ("004", "TP", "CS231")
LEAK = 0.01  # share of the evaluation's rows
ALL = 0.95  # beyond it the evaluation is a look at the training data
NARROW, NARROW_LEAK = 32, 0.05  # tables: different cases can measure the same in a few columns
ROWS = 3  # shared rows below which an accident is possible
ENOUGH = 20  # rows of an evaluation
OFTEN = 5  # passes over a test loader; choices made on it count each time


def check(loaders: Loaders, samples: Samples, evaluations: Evaluations) -> Iterator[Outcome]:
    """Held-out rows that are not held out."""
    held = [loader for loader in loaders if loader.evaluations]
    lines = [split for split in samples if split.role == "evaluation" and split.loader < 0]
    if not held and not lines:
        if samples.unread:
            yield CouldNotLook(
                "the rows of the evaluations could not be read, or there was no time"
            )
        else:
            yield NotApplicable("no evaluation of a network was seen")
        return
    seen = contents(samples)
    clean = any(is_clean(loader, seen.get(loader.number)) for loader in held) or any(
        split.share < ALL and not is_copy(split) for split in lines
    )
    for loader in held:
        yield from leaked(loader, seen.get(loader.number), clean)
        yield from inside(loader, clean or bool(lines))
    for split in lines:
        yield from leaked_line(split, clean)
    if (
        not clean
        and not samples.unread
        and not any(unknown(loader) or is_part(loader) for loader in loaders)
    ):
        yield from only_training(held, lines, seen, evaluations)
    yield from worn(held)


def contents(samples: Samples) -> dict[int, Split]:
    """The evaluated rows of each loader."""
    return {
        split.loader: split for split in samples if split.role == "evaluation" and split.loader >= 0
    }


def trained_share(loader: Loader, split: Split | None) -> float:
    """The share of a loader's rows that were trained on: by index, else by content."""
    by_index = max((overlap.share for overlap in loader.overlaps), default=0.0)
    by_content = split.share if split is not None and is_copy(split) else 0.0
    return 1.0 if loader.training else max(by_index, by_content)


def is_copy(split: Split) -> bool:
    """Whether rows shared by content are copies, not equal by accident."""
    limit = NARROW_LEAK if split.width < NARROW else LEAK
    return split.rich and split.shared >= ROWS and split.share > limit


def is_clean(loader: Loader, split: Split | None) -> bool:
    """Whether (nearly) none of its rows were trained on, as far as one can see."""
    return trained_share(loader, split) <= LEAK


def is_part(loader: Loader) -> bool:
    """Whether an evaluation was on a part of the training rows (see `inside`)."""
    return (
        any(not overlap.whole for overlap in loader.overlaps) and "train" not in loader.name.lower()
    )


def unknown(loader: Loader) -> bool:
    """A loader that was read, and neither trained nor evaluated a network that we saw."""
    return bool(loader.batches) and not loader.training and not loader.evaluations


def leaked(loader: Loader, split: Split | None, clean: bool) -> Iterator[Finding]:
    """A loader of held-out rows of which some were trained on."""
    share = trained_share(loader, split)
    rows = loader.size or (split.rows if split is not None else 0)
    if not LEAK < share < ALL or rows < ENOUGH or share * rows < ROWS:
        return
    by_index = [overlap for overlap in loader.overlaps if overlap.share == share]
    rows = by_index[0].of if by_index else rows
    yield Finding(
        message="part of the held-out data is trained on",
        seen=f"{share:.1%} of its {rows:,} rows are also in the training data, "
        + ("by index in the same dataset" if by_index else "equal to the last value"),
        fix="split once, by index, before anything else, and give each row to one side only",
        severity="fault" if loader.scored or not clean else "note",
        place=loader.place,
    )


def inside(loader: Loader, others: bool) -> Iterator[Finding]:
    """The only evaluation, on a part of the training rows as if it had been held out."""
    taken = [overlap for overlap in loader.overlaps if overlap.share >= ALL and not overlap.whole]
    if (
        others
        or not taken
        or loader.training
        or not loader.scored
        or "train" in loader.name.lower()
    ):
        return
    yield Finding(
        message="the held-out data is trained on",
        seen=f"all of its {taken[0].of:,} rows are also in the training loader's, "
        "by index in the same dataset",
        fix="train on the other rows only: Subset(dataset, the indices that are left)",
        severity="fault",
        place=loader.place,
    )


def leaked_line(split: Split, clean: bool) -> Iterator[Finding]:
    """An evaluation without a loader, on rows of which some were trained on."""
    if is_copy(split) and split.share < ALL and split.rows >= ENOUGH:
        yield Finding(
            message="part of the held-out data is trained on",
            seen=f"{split.shared:,} of {split.rows:,} evaluated rows ({split.share:.1%}) "
            "were trained on before",
            fix="split once, by index, before anything else, and give each row to one side only",
            severity="fault" if split.scored or not clean else "note",
            place=split.place,
        )


def only_training(
    held: list[Loader], lines: list[Split], seen: dict[int, Split], evaluations: Evaluations
) -> Iterator[Finding]:
    """A classifier that is scored on training rows and on no others."""
    counted = sum(score.counted for score in evaluations if score.evaluation)
    familiar = all(trained_share(loader, seen.get(loader.number)) >= ALL for loader in held)
    if not counted or not familiar or not all(split.rich and split.share >= ALL for split in lines):
        return
    place = next((loader.place for loader in held), None) or lines[0].place
    yield Finding(
        message="the only evaluation is on the training data",
        seen=f"{counted:,} predictions were scored, all on rows that the network was trained on",
        fix="hold out a part of the data, never train on it, and score on that",
        place=place,
    )


def worn(held: list[Loader]) -> Iterator[Finding]:
    """A test loader that is read again and again."""
    for loader in held:
        if "test" in loader.name.lower() and loader.evaluations > OFTEN and not loader.training:
            yield Finding(
                message="the test data is scored again and again",
                seen=f"{loader.name} was evaluated {loader.evaluations} times",
                fix="choose (epochs, rates, checkpoints) on a validation split; "
                "keep the test split for the last line",
                severity="note",
                place=loader.place,
            )
