"""Permute dimensions with permute or transpose: view and reshape only re-read the numbers in order.

Asked for the sizes of a tensor in another order, view gives them, filled row by row from the old
ones: channels, time steps or samples are scrambled, and the network still trains, worse.

Against: none. Splitting, merging and grouping dimensions with view is right, alone or around a
permute.

Check: a view or reshape whose output has exactly the sizes of its input in another order, sizes of
one left out. Silent where it is provably harmless or may be meant: straight after a flat layer (its
weights decide the order), between padding and a slice (the relative shift of attention), where the
line computes a size. A warning; a fault where the batch dimension moved and samples were then
measured to depend on each other.
"""

import linecache
import os
import re
from collections.abc import Iterator

from nomagic.probes.mixing import Leak, Mixing
from nomagic.probes.views import View, Views
from nomagic.words import Finding, Outcome

SOURCES = ("BYU", "KTW")

PADS = frozenset({"pad", "cat", "concat", "concatenate"})
SLICES = frozenset({"__getitem__", "narrow", "select", "index_select"})
COMPUTED = re.compile(r"(view|reshape)\w*\([^#]*(//|\*|%|/)")


def check(views: Views, mixing: Mixing) -> Iterator[Outcome]:
    """Each line once; a fault where samples were then found to depend on each other."""
    told: set[object] = set()
    for view in views:
        if view.place not in told and not _meant(view):
            told.add(view.place)
            leaks = [row for row in mixing if isinstance(row, Leak) and _mixes(view, row)]
            yield _finding(view, leaks[0] if leaks else None)


def _mixes(view: View, leak: Leak) -> bool:
    same = leak.place == view.place or leak.shapes == (view.before, view.after)
    return leak.across == "samples" and leak.kind == "reshape" and same


def _meant(view: View) -> bool:
    shifted = bool(view.made) and view.made[0] in PADS and bool(SLICES & set(view.feeds))
    return view.native or view.flat or shifted or _computed(view)


def _computed(view: View) -> bool:
    """Whether the line computes a size: then it regroups, and the sizes agree by chance."""
    if view.place is None:
        return False
    line = linecache.getline(os.path.abspath(view.place.file), view.place.line)
    return COMPUTED.search(line) is not None


def _finding(view: View, leak: Leak | None) -> Finding:
    order = _order(view)
    mixed = f"; {leak.share:.0%} of the other samples' predictions follow a sample" if leak else ""
    return Finding(
        message="view or reshape is used to swap dimensions; it scrambles the numbers instead",
        seen=f"sizes {view.before} are re-read as {view.after}{mixed}",
        fix=f"use permute{order} instead" if order else "use transpose or permute instead",
        severity="fault" if leak else "warning",
        place=view.place,
    )


def _order(view: View) -> tuple[int, ...]:
    """The permutation that the sizes suggest, where it is the only one."""
    if len(set(view.before)) < len(view.before) or len(view.before) != len(view.after):
        return ()
    return tuple(view.before.index(size) for size in view.after)
