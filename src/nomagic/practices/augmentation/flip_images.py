"""Mirror photos left to right while training: most things look as likely either way round.

It doubles what the network has seen of each class at hardly any cost.

Against: letters, digits, road signs and whatever has a left and a right; KAR tells of the labels
that were forgotten when images were flipped.

Try: each image with probability one half, on the device; only where inputs look like photos.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

SOURCES = ("004", "C230", "KRI12", "KAR")
PROMISE = Promise("horizontal flips are a cheap gain", "KRI12", "helps")


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """The network behind a layer that mirrors."""
    from nomagic.parts.augment import Flip, augmented, photos, varied
    from nomagic.parts.rehearsal import arms

    if not photos(glimpse.form, glimpse.raw):
        yield NotApplicable("inputs are no photos: left and right may mean something")
        return
    if varied(glimpse.model, Flip):
        yield NotApplicable("images are mirrored: it is followed already")
        return
    edit = Edit("flip", partial(augmented, steps=(Flip(),)))
    yield from arms(setup, glimpse, [(edit, "half of the images are mirrored left to right")])
