"""A stretch of training, recorded as `nomagic check` would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nomagic.probes.run import Places, Run
from nomagic.probes.subjects import Subjects
from nomagic.probes.tapes import Tapes
from nomagic.taps import Taps


@contextmanager
def recorded() -> Iterator[Tapes]:
    """The tapes of what is trained inside."""
    tapes, subjects = Tapes(), Subjects()
    run = Run(Places())
    run.probes |= {Tapes: tapes, Subjects: subjects}
    taps = Taps(run, [tapes])
    subjects.run = run
    taps.install()
    try:
        yield tapes
    finally:
        taps.remove()
        tapes.on_end()
