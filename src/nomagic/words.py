"""The words of the product: frozen values that every other module speaks.

Nothing of ours is imported here, and no torch, so that the command line can
list and explain practices at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["fault", "warning", "note"]
"""How sure we are: ``fault`` is proven, ``warning`` is likely, ``note`` is information."""

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")

Status = Literal["findings", "clean", "not-applicable", "could-not-look"]
"""What became of one practice in one run; "no finding" must not read as "no fault"."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's own code."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A practice broken in a run.

    ``message`` says what is wrong, ``seen`` the evidence with its numbers,
    ``fix`` what to do, ``place`` the user's line that would change.
    ``practice`` is filled in by `nomagic.check`.
    """

    message: str
    seen: str
    fix: str
    severity: Severity = "warning"
    place: Place | None = None
    practice: str = ""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The question does not arise in this run, and why ("no batch norm in the network")."""

    reason: str


@dataclass(frozen=True, slots=True)
class CouldNotLook:
    """The question arises but could not be answered, and why ("the model could not be copied")."""

    reason: str


Outcome = Finding | NotApplicable | CouldNotLook
Check = Callable[..., Iterator[Outcome]]


@dataclass(frozen=True, slots=True)
class Practice:
    """One piece of advice: claim, sources, and the facets that it has.

    ``needs`` are the probe classes that ``check`` names in its signature, in order.
    """

    name: str
    category: str
    claim: str
    text: str
    sources: tuple[str, ...]
    check: Check | None = None
    needs: tuple[type[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What became of one practice in one run, with the reason where nothing was looked at."""

    practice: str
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What watching took, in seconds.

    ``start`` is paid once (imports, the first steps, the copy of the model), ``watching`` during
    the run, ``experiments`` after it. ``run`` is the wall time of the script itself, all of ours
    included except the experiments.
    """

    run: float = 0.0
    start: float = 0.0
    watching: float = 0.0
    experiments: float = 0.0

    @property
    def share(self) -> float:
        """Watching as a share of the script's own time, start-up excluded."""
        own = self.run - self.start - self.watching
        return self.watching / own if own > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the script ended: ``finished``, ``stopped`` (by --steps), ``exit``, ``interrupted`` or
    ``crashed``.
    """

    how: Literal["finished", "stopped", "exit", "interrupted", "crashed"] = "finished"
    code: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One watched run, judged: what `nomagic check` returns and every report prints."""

    command: tuple[str, ...]
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    steps: int
    backwards: int
    cost: Cost
    ending: Ending = Ending()
    versions: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def worst(self) -> Severity | None:
        """The gravest severity among the findings, or None."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)
