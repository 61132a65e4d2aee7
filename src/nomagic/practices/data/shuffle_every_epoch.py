"""Shuffle, and shuffle again every epoch: successive examples should rarely share a class.

A batch of one class pulls the whole network towards that class, the next one away from it, and the
last batches of the epoch are remembered best. In a shuffled epoch every batch is a small picture of
the whole.

Against: sequential order is right for streams of text and for series whose state is carried from
batch to batch, and it does no harm where the rows were shuffled once and are many. Curricula order
on purpose.

Check: the labels in the order in which training met them, by a runs test in which the order within
a batch does not count. z below -4 (one in 30,000 by chance) in data that is read in order is a
warning; when one class fills 90 % of a batch as well, on average, a fault. Quantities are tested
above and below their median, and never give a fault. A sequential loader whose labels are mixed is
a note. Batch samplers of one's own, weighted and random sampling, token streams, carried state,
sliding windows and training on one single batch are left alone.

Try: a new order of the training samples each epoch, where the setup has one order or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nomagic.glimpse import Glimpse
from nomagic.probes.batches import Batches, Feed, Labels
from nomagic.probes.loaders import Loader, Loaders
from nomagic.words import Arm, Finding, NotApplicable, Outcome, Place, Setup

SOURCES = ("002", "LEC98", "BOT12")

SORTED = -4.0  # runs test: one-sided p of 3e-5; 100 sorted rows already give -10
PURE = 0.9  # mean share of a batch's first class: sorted, with some batches across the borders
BEYOND = 0.2  # above the same share after shuffling: rare classes make pure batches, too
ORDERED = 0.9  # share of slices that lie right behind the one before: data cut in its own order
FEW = 3  # batches below which an epoch has no order to speak of


def check(batches: Batches, loaders: Loaders) -> Iterator[Outcome]:
    """Training data read in an order that its labels betray."""
    judged = [feed for feed in batches if feed.batches >= FEW and many(feed, loaders)]
    if not judged:
        yield NotApplicable("training sees its data in one batch, or too few to have an order")
        return
    plain = [feed for feed in judged if not series(feed)]
    if not plain:
        yield NotApplicable("the data is a series that is read in order")
        return
    places: set[Place | None] = set()
    for feed in plain:
        place = where(feed, loaders)
        found = judge(feed, of(feed, loaders), place)
        if found is not None and place not in places:
            places.add(place)
            yield found


def judge(feed: Feed, loader: Loader | None, place: Place | None) -> Finding | None:
    """What the order of one feed amounts to."""
    labels = feed.labels
    if labels is not None and labels.classes >= 2 and labels.z < SORTED:
        if in_order(feed, loader):
            return grouped(labels, loader, place)
        if loader is not None and loader.sampler == "iterable" and single(labels):
            return grouped(labels, loader, place, proven=False)
    if loader is not None and loader.sampler == "sequential" and loader.passes > 1 and feed.period:
        return Finding(
            message="the training loader does not shuffle",
            seen=f"the same order in {loader.passes} epochs{told(labels)}",
            fix="pass shuffle=True to the DataLoader",
            severity="note",
            place=place,
        )
    return None


def grouped(
    labels: Labels, loader: Loader | None, place: Place | None, proven: bool = True
) -> Finding:
    """The finding for labels that come in blocks."""
    fault = proven and labels.kind == "class" and single(labels)
    if labels.kind == "class":
        seen = (
            f"one of {labels.classes} classes fills {labels.pure:.0%} of a batch "
            f"({labels.chance:.0%} when shuffled)"
        )
        message = "training meets its examples sorted by class"
    else:
        seen = f"targets above and below the median of {labels.count:,} examples"
        message = "training meets its examples sorted by their targets"
    return Finding(
        message=message,
        seen=f"{seen}; runs test z = {labels.z:.0f} (0 when shuffled)",
        fix="pass shuffle=True to the DataLoader"
        if loader is not None
        else "cut batches from a new permutation each epoch: torch.randperm(len(x)).split(size)",
        severity="fault" if fault else "warning",
        place=place,
    )


def single(labels: Labels) -> bool:
    """Whether batches are nearly of one class."""
    return labels.kind == "class" and labels.pure >= PURE and labels.pure - labels.chance >= BEYOND


def told(labels: Labels | None) -> str:
    """How mixed the labels are nevertheless."""
    return f"; its labels are mixed (runs test z = {labels.z:.1f})" if labels is not None else ""


def in_order(feed: Feed, loader: Loader | None) -> bool:
    """Whether data is read in its own order: sequentially, in adjacent slices, or in rounds."""
    if loader is not None:
        return loader.sampler == "sequential"
    return feed.consecutive >= ORDERED or bool(feed.period)


def series(feed: Feed) -> bool:
    """Whether the order of the data means something."""
    numbers = feed.labels is not None and feed.labels.kind == "value"
    return feed.tokens or feed.carried or feed.windows or (feed.recurrent and numbers)


def many(feed: Feed, loaders: Loaders) -> bool:
    """Whether an epoch has more than one batch."""
    loader = of(feed, loaders)
    return feed.again < feed.batches - 1 and (loader is None or loader.per_pass != 1)


def of(feed: Feed, loaders: Loaders) -> Loader | None:
    """The loader that the feed came from."""
    return loaders[feed.loader] if 0 <= feed.loader < len(loaders) else None


def where(feed: Feed, loaders: Loaders) -> Place | None:
    """The loader's construction, or the line that cuts the batch, or the call of the network."""
    loader = of(feed, loaders)
    if loader is not None and loader.place is not None:
        return loader.place
    return feed.cut or feed.place


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """A new order each epoch."""
    if setup.shuffle == "every-epoch":
        yield NotApplicable("every epoch is shuffled: it is followed already")
    elif setup.batch_size >= glimpse.train:
        yield NotApplicable("training sees its data in one batch: there is no order")
    else:
        what = f"shuffled every epoch instead of {setup.shuffle}"
        yield Arm("shuffle-every-epoch", replace(setup, shuffle="every-epoch"), what)
