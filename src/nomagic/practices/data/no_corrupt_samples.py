"""Hunt corrupted inputs and labels: an outlier along any axis is nearly always a bug.

One NaN in one row turns every weight into NaN; images that were scaled for training and not for
evaluation make a good network look bad; blank images with labels teach that nothing means
something.

Against: missing values that are masked before they count, blank tiles and an "empty" class are
legitimate.

Check: NaN or infinity in what enters the first layer, with a loss that is not finite, is a fault
(with a finite loss, a note: masked); so are a class index outside the network's classes, and
training and evaluation inputs whose ranges differ by a factor of 255 (2 % tolerance). Any other
factor above 10, of the largest value and of the bulk, is a warning; so are rows of one single
value, more than 1 in 1,000, whose labels are of several classes, and isolated values more than
1,000 interquartile ranges from the median (100, if it is one repeated number) in a column that
otherwise stays within 10.
"""

from collections.abc import Iterator

from nomagic.probes.crashes import Crash, Crashes
from nomagic.probes.inputs import Column, Input, Inputs
from nomagic.probes.loaders import Loaders
from nomagic.probes.samples import Samples, Split
from nomagic.words import Finding, Outcome, Place

SOURCES = ("KAR",)
BYTE = 255.0
NEAR = 0.02
FACTOR = 10.0  # splits of one source differ by less than 2, in the largest value and in the bulk
LOOKS = 2  # evaluations without a loader: a single one may be a picture of what lies far away
OFTEN = 0.02  # share of broken rows that the first twenty batches cannot miss
HELD = 32  # rows of them
BLANK = 0.001  # share of constant rows
MOST = 0.2  # beyond it blank rows are the nature of the data
FEW = 3
FAR = 1_000.0  # interquartile ranges; a normal column stays within 4 in 10,000 rows
SENTINEL = 100.0  # for one repeated number such as -999
REST = 10.0  # where all other values stay: heavy tails are graded, accidents stand alone


def check(
    inputs: Inputs, samples: Samples, crashes: Crashes, loaders: Loaders
) -> Iterator[Outcome]:
    """Values that cannot be meant."""
    for crash in crashes:
        yield from outside(crash, loaders)
    for seen in inputs:
        yield from broken(seen, loaders)
        yield from ranges(seen, loaders)
        yield from strays(seen, loaders)
    for split in samples:
        if split.role == "training":
            yield from blank(split)
            yield from stored(split, inputs)


def home(number: int, loaders: Loaders, otherwise: Place | None) -> Place | None:
    """The construction of a loader, or the line where there is none."""
    place = loaders[number].place if 0 <= number < len(loaders) else None
    return place or otherwise


def outside(crash: Crash, loaders: Loaders) -> Iterator[Finding]:
    """The script died of a label or token outside its range."""
    if crash.what == "other":
        return
    place = home(crash.loader, loaders, crash.place)
    if crash.what == "token":
        message, fix = (
            "an index is outside the embedding",
            "count the vocabulary again, padding and unknown included",
        )
        seen = crash.error
    else:
        message, fix = (
            "a class index is outside the network's classes",
            "count the classes again, and from 0",
        )
        range_ = f"0 to {crash.classes - 1}" if crash.classes else "the network's outputs"
        seen = (
            f"label {crash.value} where {range_} is possible"
            if crash.value is not None
            else crash.error
        )
    yield Finding(message=message, seen=seen, fix=fix, severity="fault", place=place)


def broken(seen: Input, loaders: Loaders) -> Iterator[Finding]:
    """NaN or infinity among the inputs."""
    if seen.broken:
        yield Finding(
            message="NaN or infinity enters the network",
            seen=f"{seen.broken_rows:,} samples in {seen.broken:,} of {seen.looked:,} batches"
            + (", and the loss is not finite" if seen.ruined else "; the loss stays finite"),
            fix="find the rows with torch.isfinite, and drop or fill them before training",
            severity="fault" if seen.ruined else "note",
            place=home(seen.loader, loaders, seen.place),
        )


def stored(split: Split, inputs: Inputs) -> Iterator[Finding]:
    """NaN or infinity in the dataset, and a loss that ended there."""
    if not split.broken or not inputs.lost or any(seen.broken for seen in inputs):
        return
    if split.broken >= OFTEN * (split.rows + split.constant):
        return  # so many would have been seen to enter: the network masks them
    first = ", ".join(map(str, split.first))
    yield Finding(
        message="NaN or infinity in the training data",
        seen=f"{split.broken:,} of {split.rows + split.constant:,} rows, the first at {first}; "
        "the loss ended as NaN or infinity",
        fix="find the rows with torch.isfinite, and drop or fill them before training",
        severity="fault",
        place=split.place,
    )


def ranges(seen: Input, loaders: Loaders) -> Iterator[Finding]:
    """Training and evaluation inputs on different scales."""
    if not seen.floating or seen.kind == "embedding" or seen.held_rows < HELD:
        return
    largest, held = max(abs(seen.low), abs(seen.high)), max(abs(seen.held_low), abs(seen.held_high))
    if not (largest > 0 and held > 0 and seen.bulk > 0 and seen.held_bulk > 0):
        return
    ratio, bulk = held / largest, seen.held_bulk / seen.bulk
    factor = max(ratio, 1 / ratio)
    if factor <= FACTOR or max(bulk, 1 / bulk) <= FACTOR or (ratio > 1) != (bulk > 1):
        return
    byte = abs(factor / BYTE - 1) <= NEAR and abs(min(largest, held) - 1) <= NEAR
    if not byte and seen.held_loader < 0 and seen.held_looks < LOOKS:
        return
    yield Finding(
        message="training and evaluation inputs are on different scales",
        seen=f"training inputs lie in {seen.low:.3g} to {seen.high:.3g}, evaluation inputs in "
        f"{seen.held_low:.3g} to {seen.held_high:.3g}: a factor of {factor:.3g}",
        fix="use the same preprocessing, with the training data's numbers, on both",
        severity="fault" if byte else "warning",
        place=home(seen.held_loader, loaders, seen.held_place),
    )


def strays(seen: Input, loaders: Loaders) -> Iterator[Finding]:
    """Isolated values far from all others of their column."""
    stray = [column for column in seen.columns if is_stray(column)]
    if stray and seen.kind != "embedding":
        worst = max(stray, key=lambda column: column.outlying)
        yield Finding(
            message="a few values are far from all others of their column",
            seen=f"column {worst.index}: {worst.outlying:,.0f} quartile ranges off the median, "
            f"99 % of the rows within {worst.rest:.1f} "
            f"(range {worst.low:.3g} to {worst.high:.3g})",
            fix="look at these rows: codes for missing values and wrong units look like this",
            place=home(seen.loader, loaders, seen.place),
        )


def is_stray(column: Column) -> bool:
    """Whether the outermost values stand alone."""
    limit = SENTINEL if column.repeated else FAR
    return column.outlying > limit and column.rest < REST and not column.discrete


def blank(split: Split) -> Iterator[Finding]:
    """Rows that hold one single value, with labels as if they showed something."""
    rows = split.rows + split.constant
    if split.constant >= FEW and BLANK * rows < split.constant < MOST * rows:
        labelled = split.constant_classes > 1 and split.rich
        yield Finding(
            message="blank samples",
            seen=f"{split.constant:,} of {rows:,} training rows hold one single value"
            + (f", with labels of {split.constant_classes} classes" if labelled else ""),
            fix="find them (x.std() == 0) and drop them, or see how they came to be",
            severity="warning" if labelled else "note",
            place=split.place,
        )
