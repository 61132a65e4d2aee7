"""Shift images a little while training: a network must not care where in the picture things are.

Each image is moved by another random number of pixels each time that it is seen, with the border
mirrored, so that no sample is ever quite the same.

Against: a shift can push the object out of the picture, and a network that underfits only gets
slower (MIS17: 47.1 % without variation, 46.2 % with several scales, at a fixed length).

Try: up to a sixteenth, an eighth or a quarter of the side in both directions, on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

SOURCES = ("KRI12", "C230", "MIS17")
PROMISE = Promise("random crops and shifts are more accurate", "KRI12", "helps")
SHARES = (8, 16, 4)
"""The parts of an image's side, the usual one first."""


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """The network behind a layer that shifts."""
    from nomagic.parts.augment import Shift, augmented, varied
    from nomagic.parts.presets.kinds import kind
    from nomagic.parts.rehearsal import arms

    if kind(glimpse.form) != "image":
        yield NotApplicable(f"inputs of shape {glimpse.form.shape} are no images")
        return
    if varied(glimpse.model, Shift):
        yield NotApplicable("images are shifted: it is followed already")
        return
    side = min(glimpse.form.shape[-2:])
    pixels = list(dict.fromkeys(max(1, side // share) for share in SHARES))
    edits = [
        (
            Edit(f"shift-{most}", partial(augmented, steps=(Shift(most),))),
            f"each image is moved by up to {most} pixels",
        )
        for most in pixels
    ]
    yield from arms(setup, glimpse, edits)
