"""The training pass that all experiments share, replayed and verified once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.tapes import Tapes

if TYPE_CHECKING:
    from nomagic.subject import Subject

OFF = "experiments on a copy were not run"


class Subjects(Probe[Any]):
    """Finds what to experiment on, after the run. It has no rows: what it finds is live."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Tapes,)

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self.found: Subject | None = None
        self.trouble = OFF
        self.apt = True

    def experiment(self) -> None:
        """Verify that a recorded pass can be run again, and learn what is what in it."""
        from nomagic.subject import NoSubjectError, subject

        tapes = self.run.probe(Tapes)
        if not len(tapes):
            self.trouble = tapes.trouble
            return
        try:
            self.found = subject(tapes)
            self.trouble = ""
        except NoSubjectError as reason:
            self.trouble, self.apt = str(reason), reason.apt

    def release(self) -> None:
        """Let go of the copies."""
        self.found = None


def deadline(probe: Probe[Any], seconds: float) -> float:
    """When an experiment must stop: its own seconds, and the run's."""
    return min(probe.run.deadline, time.perf_counter() + seconds)
