"""Periodic wiggles in the loss betray data in a fixed order, or batches that overlap.

When the loss repeats itself epoch for epoch, the same batches come in the same order, or an order
by class or by time leads the weights around in a circle.

Against: a cyclic learning rate is periodic by design. Text that is read on from batch to batch is
in order on purpose, and so is a curriculum. Even shuffled data can let the loss rise smoothly
within each epoch.

Check: the training loss of each epoch, minus its own parabola (the smooth part) and without its
first and last batch (states that begin anew, a smaller batch), is correlated with that of the
next epoch. A mean above 0.3, over 3 epochs and 300 losses, is a warning: for shuffled data its
standard deviation is at most 0.06. Where the learning rate repeats itself as well, or the network
reads tokens, it is a note.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nomagic.probes.batches import Batches
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.trace import Trace
from nomagic.words import Finding, NotApplicable, Outcome, Picture, Place, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCES = ("TP",)
CORRELATION = 0.3  # five standard deviations of shuffled data at the fewest losses
EPOCHS = 3
LOSSES = 300
SHOWN = 400  # places in an epoch that are drawn
SHORTEST = 12  # batches in an epoch; a shorter one has no inside


def check(descent: Descent, batches: Batches, trace: Trace) -> Iterator[Outcome]:
    """Losses that repeat themselves epoch for epoch."""
    line = next(iter(descent.lines().values()), [])
    epochs = by_loader(line, descent.loaders) or by_feed(line, batches)
    if len(epochs) < EPOCHS or len(epochs) * len(epochs[0]) < LOSSES:
        yield NotApplicable(
            f"fewer than {EPOCHS} whole epochs of {SHORTEST} batches or more and {LOSSES} losses"
        )
        return
    alike = repetition([[loss.value for loss in epoch] for epoch in epochs])
    if not alike > CORRELATION:
        return
    cyclic = repetition([[loss.rate for loss in epoch] for epoch in epochs]) > CORRELATION
    tokens = any(node.name == "embedding" for graph in trace for node in graph.nodes)
    yield Finding(
        message="the loss repeats itself epoch for epoch",
        seen=f"losses of an epoch and the next correlate by {alike:.2f} in {len(epochs)} epochs "
        f"of {len(epochs[0])} batches; for shuffled data that is about 0",
        fix="shuffle the training data anew in every epoch; look for batches that overlap",
        severity="note" if cyclic or tokens else "warning",
        place=anchor(epochs[0][0], descent, batches),
    )


def anchor(loss: Loss, descent: Descent, batches: Batches) -> Place | None:
    """The line that makes the loader or cuts the batches, else that of the backward."""
    if loss.loader >= 0:
        return descent.loaders[loss.loader] or loss.place
    return next((feed.cut for feed in batches if feed.period and feed.cut), None) or loss.place


def by_loader(line: Sequence[Loss], places: Sequence[Place | None]) -> list[list[Loss]]:
    """The whole epochs of the loader that feeds most; one made anew in each epoch is the same."""
    fed = [loss for loss in line if loss.loader >= 0]
    main = Counter(places[loss.loader] for loss in fed).most_common(1)
    found: dict[tuple[int, int], list[Loss]] = {}
    for loss in fed:
        if places[loss.loader] == main[0][0]:
            found.setdefault((loss.loader, loss.epoch), []).append(loss)
    return whole(list(found.values()))


def by_feed(line: Sequence[Loss], batches: Batches) -> list[list[Loss]]:
    """Stretches of as many losses as there are batches that come in the same order again."""
    period = next((feed.period for feed in batches if feed.period >= SHORTEST), 0)
    return whole([list(line[i : i + period]) for i in range(0, len(line), period or 1)])


def whole(epochs: Sequence[list[Loss]]) -> list[list[Loss]]:
    """Those of the usual length, if they have an inside and all is finite."""
    usual = Counter(len(epoch) for epoch in epochs).most_common(1)
    if not usual or usual[0][0] < SHORTEST:
        return []
    kept = [epoch for epoch in epochs if len(epoch) == usual[0][0]]
    return [epoch for epoch in kept if all(loss.finite for loss in epoch)]


def repetition(epochs: Sequence[Sequence[float]]) -> float:
    """The mean correlation of an epoch's wiggles with those of the next."""
    import numpy as np

    inside = np.asarray(epochs, float)[:, 1:-1]
    if not np.isfinite(inside).all():
        return math.nan
    wiggles = rough(inside)
    return float((wiggles[:-1] * wiggles[1:]).sum(1).mean())


def rough(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row minus its parabola, scaled to length 1; a row without wiggles stays zero."""
    import numpy as np

    along = np.linspace(-1, 1, inside.shape[1])
    smooth = np.linalg.qr(np.vander(along, 3))[0]
    left = inside - inside @ smooth @ smooth.T
    length = np.linalg.norm(left, axis=1, keepdims=True)
    noise = 1e-9 * np.linalg.norm(inside, axis=1, keepdims=True)
    return np.where(length > noise, left / np.maximum(length, 1e-300), 0.0)


def show(descent: Descent, batches: Batches) -> Iterator[Picture]:
    """The loss folded by its place in the epoch: the first, the middle and the last of them."""
    line = next(iter(descent.lines().values()), [])
    epochs = by_loader(line, descent.loaders) or by_feed(line, batches)
    if len(epochs) < EPOCHS:
        return
    chosen = {0: "first", len(epochs) // 2: "middle", len(epochs) - 1: "last"}
    apart = -(-len(epochs[0]) // SHOWN)
    yield Picture(
        "The loss by its place in the epoch",
        "Curves that wiggle alike see the same data in the same order.",
        "batch of the epoch",
        "loss",
        tuple(
            Series(
                f"{name} epoch",
                tuple(float(place) for place in range(0, len(epochs[at]), apart)),
                tuple(loss.value for loss in epochs[at][::apart]),
            )
            for at, name in chosen.items()
        ),
    )
