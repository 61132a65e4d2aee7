"""Shift and distort recordings while training: nobody says a word twice in the same way.

Moved in time, louder or softer, a little faster or slower, with a hiss behind it: each recording
is another one each time that it is seen.

Against: speed moves the pitch, which matters where the speaker or a mood is to be told; on spoken
digits of speakers who had not been heard, shift and gain alone brought nothing that could be told
(lab/log.md).

Try: time shift and gain, speed, noise, and all of them, on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

SOURCES = ("002", "KO15")
PROMISE = Promise("speed perturbation makes 4.3 % fewer word errors", "KO15", "helps")


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """The network behind a layer that distorts."""
    from nomagic.parts.augment import Gain, Hiss, Speed, TimeShift, augmented, varied
    from nomagic.parts.presets.kinds import kind
    from nomagic.parts.rehearsal import arms

    if kind(glimpse.form) != "waveform":
        yield NotApplicable(f"inputs of shape {glimpse.form.shape} are no recordings")
        return
    if varied(glimpse.model, TimeShift, Gain, Speed, Hiss):
        yield NotApplicable("recordings are varied: it is followed already")
        return
    families: dict[str, tuple[tuple[Any, ...], str]] = {
        "audio-speed": ((Speed(),), "each recording is up to 10 % faster or slower"),
        "audio-shift": ((TimeShift(), Gain()), "each is moved by up to a tenth and up to 6 dB off"),
        "audio-noise": ((Hiss(),), "noise between 10 and 30 dB below each recording"),
        "audio-all": ((TimeShift(), Speed(), Gain(), Hiss()), "all of these together"),
    }
    edits = [
        (Edit(name, partial(augmented, steps=steps)), what)
        for name, (steps, what) in families.items()
    ]
    yield from arms(setup, glimpse, edits)
