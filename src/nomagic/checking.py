"""Watch a script and judge it: script, probes and practices in, a record out."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import platform
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nomagic import catalog
from nomagic import script as scripts
from nomagic.config import Options
from nomagic.evidence import curves, drawn
from nomagic.probes.probe import Probe
from nomagic.probes.run import Places, Run
from nomagic.suppress import suppressed
from nomagic.words import (
    SEVERITIES,
    Cost,
    CouldNotLook,
    Ending,
    Finding,
    Look,
    NotApplicable,
    Outcome,
    Picture,
    Practice,
    Record,
    Shown,
)

if TYPE_CHECKING:
    from nomagic.taps import Taps

EXPERIMENTS = 20.0
"""Seconds that all experiments on copies may take together, after the run."""


Tell = Callable[[str, float | None], None]
"""Hears what goes on after a run, and the seconds that it takes at most."""


def _nobody(_what: str, _left: float | None) -> None:
    """Nobody hears it."""


class Watch:
    """Watches whatever runs between `start` and `stop`, and judges it."""

    def __init__(self, options: Options, own: str = "") -> None:
        """``own`` is the directory of the script: its files are the user's wherever they lie."""
        chosen = catalog.select(catalog.load(), options.select, options.skip)
        self.practices = [one for one in chosen if one.check or one.name in options.select]
        self.options = options
        self.run = Run(Places(own), options.overhead)
        self.taps: Taps | None = None
        self.seconds = 0.0
        self.remarks: list[str] = []

    def start(self) -> None:
        """Import torch, make the probes and install the taps."""
        began = time.perf_counter()
        from nomagic.taps import Taps

        for practice in self.practices:
            for kind in (*practice.needs, *practice.shows):
                self._add(kind)
        for kind in () if self.options.select else drawn.WATCHED:
            self._add(kind)
        self.taps = Taps(self.run, self.run.probes.values(), self._stop())
        self.taps.install()
        self.run.clock.began = began
        self.run.clock.start += time.perf_counter() - began

    def _add(self, kind: type[Probe[Any]]) -> None:
        """A probe after those that it reads, so that it hears each event after them."""
        if kind not in self.run.probes:
            for need in kind.needs:
                self._add(need)
            self.run.probes[kind] = kind()
            self.run.probes[kind].run = self.run

    def _stop(self) -> Any:
        limit = self.options.steps
        if limit is None:
            return None

        def stop() -> None:
            if self.run.steps >= limit:
                raise scripts.Stop

        return stop

    def stop(self) -> None:
        """Take out the taps; the run is over."""
        if self.taps is not None:
            self.seconds = time.perf_counter() - self.run.clock.began
            self.taps.remove()
            self.taps = None

    def judge(self, command: Sequence[str], ending: Ending, tell: Tell = _nobody) -> Record:
        """Let the probes finish, experiment on the copies, and ask every practice."""
        self.run.ending = ending
        for probe in self.run.probes.values():
            self._finish(probe, "on_end")
        cost = time.perf_counter()
        if self.options.experiments:
            self._experiment(cost + EXPERIMENTS, tell)
        for probe in self.run.probes.values():
            self._finish(probe, "release")
        cost = time.perf_counter() - cost
        made = drawn.pictures(self.run.probes.values(), self.remarks.append)
        looks: list[Look] = []
        findings: list[Finding] = []
        for practice in self.practices:
            found, look = self._ask(practice)
            findings.extend(found)
            looks.append(replace(look, pictures=self._shown(practice, look, made)))
        charts = (*drawn.charts(made), *self._times())
        clock = self.run.clock
        return Record(
            command=tuple(command),
            findings=tuple(sorted(findings, key=_order)),
            looks=tuple(looks),
            steps=self.run.steps,
            backwards=self.run.tick,
            cost=Cost(self.seconds, clock.start, clock.spent, cost),
            ending=ending,
            versions=versions(),
            remarks=(*self._remarks(), *self.remarks),
            charts=charts,
        )

    def _times(self) -> tuple[Picture, ...]:
        """Where the time went, if anything was trained."""
        try:
            return tuple(curves.laps(self.run.laps.rows))
        except Exception as error:
            self.remarks.append(f"no picture of the time: {type(error).__name__}: {error}")
            return ()

    def _shown(self, practice: Practice, look: Look, made: drawn.Pictures) -> tuple[Picture, ...]:
        """The evidence that a practice was judged by."""
        if look.status not in ("findings", "clean"):
            return ()
        try:
            return drawn.shown(practice, self.run.probes, made)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self.remarks.append(f"no picture of {practice.name}: {said}")
            return ()

    def _finish(self, probe: Probe[Any], event: str) -> None:
        act = getattr(probe, event, None)
        name = type(probe).__name__
        if act is None or name in self.run.errors:
            return
        try:
            act()
        except Exception as error:
            self.run.errors[name] = f"{type(error).__name__} in {event}: {error}"

    def _experiment(self, deadline: float, tell: Tell) -> None:
        """Experiment on copies: nothing printed, no random state moved, no time overrun."""
        self.run.deadline = deadline
        trying = [probe for probe in self.run.probes.values() if hasattr(probe, "experiment")]
        with _quiet(), _same_randomness():
            for number, probe in enumerate(trying, 1):
                what = f"experiment {number} of {len(trying)} on a copy of the model"
                tell(what, deadline - time.perf_counter())
                self._finish(probe, "experiment")

    def _ask(self, practice: Practice) -> tuple[list[Finding], Look]:
        """What a practice finds in this run, and what became of it."""
        name = practice.name
        unasked = self._unasked(practice)
        if unasked is not None:
            return [], unasked
        probes = [self.run.probes[kind] for kind in practice.needs]
        try:
            outcomes = list(practice.check(*probes)) if practice.check else []
        except Exception as error:
            reason = f"our own error: {type(error).__name__}: {error}"
            return [], Look(name, "could-not-look", reason)
        found = [replace(o, practice=name) for o in outcomes if isinstance(o, Finding)]
        kept = [finding for finding in found if not suppressed(finding, _lines(finding))]
        if kept:
            return kept, Look(name, "findings")
        if not self.run.tick:  # it crashed before: what is proven is said, nothing else is
            return [], Look(name, "not-applicable", "no backward pass was seen")
        reason = "every finding is suppressed by a comment" if found else ""
        return [], _unfound(name, outcomes) or Look(name, "clean", reason)

    def _unasked(self, practice: Practice) -> Look | None:
        """Why a practice is not asked, if there is a reason."""
        errors = self.run.errors
        broken = [k.__name__ for k in _closure(practice.needs) if k.__name__ in errors]
        crashed = self.run.ending is not None and self.run.ending.how == "crashed"
        if practice.check is None:
            return Look(practice.name, "not-applicable", "it has nothing to look for in a run")
        if broken:
            return Look(practice.name, "could-not-look", f"{broken[0]}: {errors[broken[0]]}")
        if not self.run.tick and not crashed:
            return Look(practice.name, "not-applicable", "no backward pass was seen")
        return None

    def _remarks(self) -> Iterator[str]:
        if not self.run.tick:
            yield (
                "no backward pass was seen: nothing was trained by loss.backward() or "
                "torch.autograd.grad in this process, so there is nothing to judge"
            )
        elif not self.run.steps:
            yield "no torch optimizer stepped: backward passes are counted in place of steps"
        for tap in sorted(name for name in self.run.errors if name.startswith("tap ")):
            yield f"this version of torch lacks a place to watch: {self.run.errors[tap]}"


class Watched:
    """A notebook cell or a test under watch: ``with nomagic.check() as watched: train()``.

    After the block ``watched.record`` holds the record and ``watched.findings`` its findings;
    an exception leaves the block as it would without us.
    """

    def __init__(self, options: Options) -> None:
        self._watch = Watch(options)
        self._record: Record | None = None

    def __enter__(self) -> Watched:
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._watch.stop()
        stopped = isinstance(error, scripts.Stop)
        how = "finished" if error is None else "stopped" if stopped else "crashed"
        said = "" if error is None or stopped else f"{type(error).__name__}: {error}"
        self._record = self._watch.judge((), Ending(how, 0 if not said else 1, said))
        return stopped

    @property
    def record(self) -> Record:
        """The record of the block; raises while it still runs."""
        if self._record is None:
            raise RuntimeError("the watched block is still running: read the record after it")
        return self._record

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, gravest first."""
        return self.record.findings

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """What a notebook shows: the record, as soon as there is one."""
        if self._record is None or Shown.display is None:
            return {"text/plain": repr(self)}
        return Shown.display(self._record)


def check(
    *,
    select: Iterable[str] = (),
    skip: Iterable[str] = (),
    steps: int | None = None,
    experiments: bool = True,
    overhead: float = 0.05,
) -> Watched:
    """Watch a block of code: ``with nomagic.check() as watched: …``, then ``watched.findings``.

    ``select`` and ``skip`` name practices; ``steps`` ends the block after so many optimizer
    steps; ``overhead`` is the share of the run time that watching may take.
    """
    return Watched(Options(tuple(select), tuple(skip), steps, experiments, overhead))


def script(
    loaded: scripts.Loaded, options: Options, *, restore: bool = True, tell: Tell = _nobody
) -> Record:
    """Run a loaded script as if by python, watched, and judge it; never raises for what it does.

    ``tell`` hears after the script what goes on, and the seconds that all of it takes at most.
    Without ``restore`` the script's world (``__main__``, ``sys.argv``…) stays as it left it, as its
    exit handlers expect when the process ends next.
    """
    watch = Watch(options, loaded.folder)
    watch.start()
    running = scripts.running(loaded) if restore else contextlib.nullcontext(scripts.run(loaded))
    with running as ending:
        watch.stop()
        program = loaded.program
        return watch.judge((program.module or program.path, *program.args), ending, tell)


def versions() -> dict[str, str]:
    """The versions that matter for reading a record."""
    import torch

    own = "nomagic"
    try:
        number = metadata.version(own)
    except metadata.PackageNotFoundError:
        number = "unknown"
    return {own: number, "torch": torch.__version__, "python": platform.python_version()}


def _unfound(name: str, outcomes: Iterable[Outcome]) -> Look | None:
    """What a practice without findings said of itself, what it could not look at first."""
    said = list(outcomes)
    for outcome in said:
        if isinstance(outcome, CouldNotLook):
            return Look(name, "could-not-look", outcome.reason)
    for outcome in said:
        if isinstance(outcome, NotApplicable):
            return Look(name, "not-applicable", outcome.reason)
    return None


def _order(finding: Finding) -> tuple[int, str, str, int]:
    place = finding.place
    file, line = (place.file, place.line) if place is not None else ("", 0)
    return SEVERITIES.index(finding.severity), finding.practice, file, line


def _closure(kinds: Iterable[type[Probe[Any]]]) -> Iterator[type[Probe[Any]]]:
    for kind in kinds:
        yield kind
        yield from _closure(kind.needs)


def _lines(finding: Finding) -> list[str]:
    if finding.place is None:
        return []
    return linecache.getlines(os.path.abspath(finding.place.file))


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """What experiments print or warn about is ours, not the user's."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _same_randomness() -> Generator[None]:
    """Random states of python, numpy and torch as they were, whatever is drawn inside."""
    import random

    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
