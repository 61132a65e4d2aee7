"""What experiments on a copy share: they run after the training, or say why not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nomagic.probes.probe import Probe
from nomagic.probes.subjects import OFF, Subjects
from nomagic.words import CouldNotLook, NotApplicable

if TYPE_CHECKING:
    from nomagic.subject import Subject

Row = TypeVar("Row")


class Experiment(Probe[Row]):
    """A probe whose rows come from an experiment: a subclass defines ``attempt``."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Subjects,)
    seconds: ClassVar[float] = 3.0

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        super().__init__(rows)
        self.trouble = "" if self.rows else OFF
        self.apt = True
        self.deadline = 0.0

    def attempt(self, subject: Subject) -> Iterator[Row]:
        """Answer the question on copies, before ``self.deadline`` (of `time.perf_counter`)."""
        raise NotImplementedError

    def experiment(self) -> None:
        """Attempt it, if there is something to experiment on."""
        from nomagic.subject import NoSubjectError

        subjects = self.run.probe(Subjects)
        subject = subjects.found
        if subject is None:
            self.trouble, self.apt = subjects.trouble, subjects.apt
            return
        self.deadline = min(self.run.deadline, time.perf_counter() + self.seconds)
        self.trouble = ""
        try:
            self.rows.extend(self.attempt(subject))
        except NoSubjectError as reason:
            self.trouble, self.apt = str(reason), reason.apt
        except Exception as error:
            self.trouble = f"the experiment failed: {type(error).__name__}: {error}"

    def unanswered(self) -> Iterator[NotApplicable | CouldNotLook]:
        """Why there are no rows."""
        if self.trouble and not self.rows:
            yield CouldNotLook(self.trouble) if self.apt else NotApplicable(self.trouble)
