"""The network should never see exactly the same mini-batch twice.

When the same rows meet in the same batches each epoch, their accidental company is learnt like a
property of the data, and the noise of the gradient repeats instead of averaging out. Drawing new
batches costs nothing.

Against: harmless where a batch is the whole data set, and nearly so where an epoch has thousands of
batches; deliberate when one overfits a single batch as a test.

Check: fingerprints of the batches that entered the network. All batches again in the same order,
epoch for epoch, is a warning; batches that now and then come again are a note. Two whole epochs
must have been seen, of at least four batches, two optimizer steps and 64 rows. Left alone:
full-batch training (also in pieces that are accumulated), token streams, sliding windows, state
carried from batch to batch.
"""

from collections.abc import Iterator

from nomagic.probes.batches import Batches, Feed
from nomagic.probes.loaders import Loader, Loaders
from nomagic.words import Finding, NotApplicable, Outcome, Place

SOURCES = ("002",)
ROUND = 4  # batches: fewer in turn are a few tasks or full batches, not an epoch
STEPS = 2.0  # optimizer steps in a round: with one, the round is a single batch in pieces
ROWS = 64  # rows of a round: truth tables and other toys are smaller
DISTINCT = 0.9  # of the fingerprints of a round; below, the values sampled tell too little
LONG = 2_000  # batches in a round: company among so many hardly matters
OFTEN = 0.05  # share of batches seen before that is worth a note


def check(batches: Batches, loaders: Loaders) -> Iterator[Outcome]:
    """Rounds of batches that come again."""
    judged = [feed for feed in batches if enough(feed)]
    if not judged:
        yield NotApplicable("training saw no second epoch of several batches")
        return
    places: set[Place | None] = set()
    for feed in judged:
        loader = loaders[feed.loader] if 0 <= feed.loader < len(loaders) else None
        place = (loader.place if loader is not None else None) or feed.cut or feed.place
        found = judge(feed, loader, place)
        if found is not None and place not in places:
            places.add(place)
            yield found


def enough(feed: Feed) -> bool:
    """Whether the feed has batches of which some could come again."""
    return feed.batches >= 2 * ROUND and len_of_round(feed) > 1


def len_of_round(feed: Feed) -> int:
    """The batches in a round, or all that are different."""
    return feed.period or feed.batches - feed.again


def judge(feed: Feed, loader: Loader | None, place: Place | None) -> Finding | None:
    """What the repeats of one feed amount to."""
    if feed.tokens or feed.carried or feed.windows:
        return None
    if whole_round(feed):
        rounds = feed.batches / feed.period
        return Finding(
            message="the same batches come again in the same order, epoch after epoch",
            seen=f"a round of {feed.period:,} batches came {rounds:.1f} times, "
            "each batch the same in all values compared",
            fix=advice(loader),
            severity="warning" if feed.period <= LONG else "note",
            place=place,
        )
    if loader is not None and not feed.period and feed.again >= max(2, OFTEN * feed.batches):
        return Finding(
            message="some batches were seen more than once",
            seen=f"{feed.again:,} of {feed.batches:,} batches had been seen before",
            fix="draw new batches each epoch",
            severity="note",
            place=place,
        )
    return None


def whole_round(feed: Feed) -> bool:
    """Whether all batches come again, and there are enough to be an epoch."""
    return (
        feed.period >= ROUND
        and feed.steps >= STEPS
        and feed.period * feed.rows >= ROWS
        and feed.distinct >= DISTINCT
    )


def advice(loader: Loader | None) -> str:
    """What to change."""
    if loader is None:
        return "cut batches from a new permutation each epoch: torch.randperm(len(x)).split(size)"
    if loader.sampler == "sequential":
        return "pass shuffle=True to the DataLoader"
    return "draw anew each epoch: no fixed seed inside the epoch, no list or cycle of batches"
