"""Where a watched run stands, and the live events that probes hear.

Events carry live tensors and modules: a probe keeps numbers, never the events themselves.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nomagic.frames import STAND_IN
from nomagic.words import Ending, Place

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from nomagic.probes.probe import Probe

P = TypeVar("P")

DENSE = 20
"""Ticks at the start that are always looked at; their cost is start-up and printed apart."""
SPACING = 1.25
"""After that a window begins when 25 % more ticks have passed: ten in a decade, whatever they
cost.
"""
LENGTHS = (9, 10, 11, 8, 12, 7, 13)
"""Ticks of a window before its look; they differ, so that looks fall on every part of a cycle of
accumulated gradients or of two alternating networks.
"""
STEPS = 2
"""Optimizer steps that a window has before its look, if they come within"""
LONGEST = 100
"""so many ticks."""
PAUSE = 8
"""Ticks between two questions whether the budget allows another window."""
GRACE = 0.6
"""Seconds of our work after the first ticks that count as start-up, so that runs of a second are
seen, too.
"""
SPANS = 1_000
"""Ticks whose forward and backward are timed one by one."""
LAPS = 480
"""Laps kept; when more have come, every other one is let go."""
PARTS: tuple[str, ...] = ("loader", "forward", "backward", "step", "evaluation", "nomagic", "other")
"""Where the time of a step goes."""
SHARE = 0.5
"""Of the overhead budget, what we may book; the rest is for what cannot be timed from within."""


@dataclass(slots=True)
class Batch:
    """What a loader handed out, ``index``-th of its pass ``epoch``, after ``waited`` seconds."""

    loader: Any
    value: Any
    epoch: int
    index: int
    waited: float


@dataclass(slots=True)
class Call:
    """An outermost module call: made by the user's code (or a framework's), not by another module.

    ``modes`` are the modes of the parts that behave differently in training and evaluation
    (dropout, batch norm…): name -> in training mode. ``batch`` is the loader batch handed out
    last, if it is still the one in hand.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    place: Place | None
    grads: bool
    batch: Batch | None
    tick: int


@dataclass(slots=True)
class Layer:
    """One module call, inner or outermost, with what came in and went out."""

    module: nn.Module
    args: tuple[Any, ...]
    output: Any
    call: Call | None


@dataclass(slots=True)
class Op:
    """A torch function that returned a tensor, as the user's or a module's code called it.

    ``modules`` is the stack of modules it ran in, outermost first (empty: the user's own code).
    ``grads`` is False in an evaluation window (under no_grad or inference_mode).
    """

    func: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    place: Place | None
    modules: tuple[nn.Module, ...]
    grads: bool


@dataclass(slots=True)
class Backward:
    """``loss.backward()``, or ``torch.autograd.grad(loss, parameters)``.

    ``calls`` are the outermost calls since the backward before.
    """

    loss: Tensor
    place: Place | None
    calls: list[Call]
    tick: int
    by_grad: bool = False


@dataclass(slots=True)
class Clip:
    """A call of ``clip_grad_norm_`` (``limit`` is the norm, ``total`` what was found) or
    ``clip_grad_value_``.
    """

    kind: str
    parameters: list[Tensor]
    limit: float
    total: Any
    place: Place | None


@dataclass(slots=True)
class Scaled:
    """A GradScaler's ``what`` (``step`` or ``unscale_``); ``skipped`` when it left the step out
    for inf gradients.
    """

    scaler: Any
    optimizer: Any
    what: str
    skipped: bool
    place: Place | None


@dataclass(slots=True)
class Step:
    """An optimizer step; ``index`` counts the steps of this optimizer from 0."""

    optimizer: Optimizer
    index: int
    place: Place | None
    tick: int


@dataclass(frozen=True, slots=True)
class Lap:
    """The time from one backward to the next, in seconds, by `PARTS`.

    Evaluation is what took place since the lap before, spread over the steps since then. ``looked``
    says that the step was looked at closely, which slows it.
    """

    tick: int
    seconds: tuple[float, ...]
    looked: bool = False


class Laps:
    """The laps of a run; of the later ones only some are kept."""

    def __init__(self) -> None:
        self.rows: list[Lap] = []
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._before = 0.0
        self._began = self._ours = 0.0
        self._last = self._seen = 0
        self._spacing = 1

    def add(self, part: str, seconds: float) -> None:
        """Time that went into one part."""
        self._spent[part] += seconds

    def lose(self) -> None:
        """The lap under way is not heard to its end."""
        self._began = 0.0

    def end(self, tick: int, now: float, ours: float, looked: bool) -> None:
        """A lap is over at ``now``; ``ours`` is what watching has taken so far."""
        spent, wall, heard = self._spent, now - self._began, self._began > 0
        spent["nomagic"] = ours - self._ours
        spent["other"] = max(0.0, wall - sum(spent.values()))
        self._spent, self._began, self._ours = dict.fromkeys(PARTS, 0.0), now, ours
        self._before += spent["evaluation"]
        if heard:
            spent["evaluation"] = self._before / max(1, tick - self._last)
            self._last, self._before = tick, 0.0
            self._keep(Lap(tick, tuple(spent[part] for part in PARTS), looked))

    def _keep(self, lap: Lap) -> None:
        self._seen += 1
        if self._seen % self._spacing == 0:
            self.rows.append(lap)
        if len(self.rows) > LAPS:
            self.rows = self.rows[::2]
            self._spacing *= 2


class Places:
    """Finds the user's own line on the stack: no library, no interpreter, none of ours."""

    def __init__(self, own: str = "") -> None:
        """``own`` is the script's directory, the user's even if it lies among the libraries."""
        paths = sysconfig.get_paths()
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        roots = {here, *(paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))}
        roots |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
        self._foreign = tuple(os.path.join(os.path.realpath(root), "") for root in roots)
        self._own = os.path.join(os.path.realpath(own), "") if own else ""
        self._known: dict[str, bool] = {}
        self._places: dict[tuple[CodeType, int], Place] = {}
        self._home = os.getcwd()

    def mine(self, file: str) -> bool:
        """Whether a code object's file is the user's."""
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._judge(file)
        return known

    def _judge(self, file: str) -> bool:
        if file.startswith("<"):
            return file.startswith(("<ipython", "<stdin>"))
        path = os.path.realpath(file)
        if (
            self._own
            and path.startswith(self._own)
            and "site-packages" not in path[len(self._own) :]
        ):
            return True
        return not path.startswith(self._foreign)

    def frame(self, skip: object = None) -> FrameType | None:
        """The innermost frame of the user's; with ``skip``, not one of that object's own
        ``__init__``.
        """
        frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            code = frame.f_code
            if (
                self.mine(code.co_filename)
                and code.co_name != STAND_IN
                and not (
                    skip is not None
                    and code.co_name == "__init__"
                    and frame.f_locals.get(code.co_varnames[0] if code.co_varnames else "") is skip
                )
            ):
                return frame
            frame = frame.f_back
        return None

    def here(self, skip: object = None) -> Place | None:
        """The user's line that is running."""
        frame = self.frame(skip)
        if frame is None:
            return None
        key = (frame.f_code, frame.f_lineno)
        known = self._places.get(key)
        if known is None:
            code = frame.f_code
            known = self._places[key] = self.place(code.co_filename, frame.f_lineno, code.co_name)
        return known

    def place(self, file: str, line: int, function: str = "") -> Place:
        """A place as the user would write it: relative to the working directory where it lies
        below it.
        """
        path = os.path.abspath(file) if not file.startswith("<") else file
        if path.startswith(os.path.join(self._home, "")):
            path = os.path.relpath(path, self._home)
        return Place(path, line, "" if function == "<module>" else function)


@dataclass
class Clock:
    """What we take, in seconds, and whether we may take more."""

    budget: float = 0.05
    began: float = field(default_factory=time.perf_counter)
    spent: float = 0.0
    start: float = 0.0
    dense: bool = True
    grace: float = GRACE

    def add(self, seconds: float) -> None:
        """Book time that we used: start-up while the first ticks and the grace last, watching
        afterwards.
        """
        if self.dense:
            self.start += seconds
        elif self.grace > 0:
            self.grace -= seconds
            self.start += seconds
        else:
            self.spent += seconds

    def end_start(self) -> None:
        """The first ticks are over: from here on the budget holds."""
        self.dense = False

    def spare(self) -> bool:
        """Whether the budget allows a little more work now."""
        if self.dense or self.grace > 0:
            return True
        elapsed = time.perf_counter() - self.began - self.start - self.spent
        return self.spent < SHARE * self.budget * elapsed


class Run:
    """The state of one watched run that every probe may read.

    ``times`` are seconds in all ``timed`` ticks outside of sleep; ``spans`` the seconds of forward
    and backward in the first of those that were not looked at.
    """

    def __init__(self, places: Places, budget: float = 0.05) -> None:
        self.places = places
        self.clock = Clock(budget)
        self.tick = 0
        self.steps = 0
        self.stepped: dict[int, int] = {}
        self.looking = True
        self.asleep = False
        self.compiled = False
        self.busy = False
        self.over = False
        self.ending: Ending | None = None
        self.deadline = float("inf")
        self.calls: list[Call] = []
        self.times = {"forward": 0.0, "backward": 0.0, "step": 0.0}
        self.timed = 0
        self.spans: list[float] = []
        self.laps = Laps()
        self.batch: Batch | None = None
        self.probes: dict[type[Probe[Any]], Probe[Any]] = {}
        self.errors: dict[str, str] = {}
        self._built: dict[int, tuple[weakref.ref[Any], Place]] = {}
        self._parents: dict[int, weakref.ref[Any]] = {}
        self._names: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._adopted: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._roots: list[weakref.ref[nn.Module]] = []
        self._due = DENSE
        self._windows = self._look_at = self._steps_at = 0
        self._closing = False

    def probe(self, kind: type[P]) -> P:
        """The probe of this kind that watches the run."""
        return cast("P", self.probes[cast("Any", kind)])

    # -- names and places of modules and parameters ---------------------------------

    def note_built(self, module: nn.Module, place: Place) -> None:
        """Remember the line that constructed a module."""
        self._built[id(module)] = (weakref.ref(module), place)

    def built(self, module: object) -> Place | None:
        """The user's line that constructed this module, or the nearest parent's that is known."""
        kept = self._built.get(id(module))
        if kept is not None and kept[0]() is module:
            return kept[1]
        parent = self._parents.get(id(module))
        above = parent() if parent is not None else None
        return self.built(above) if above is not None else None

    def anchor(self, op: Op) -> Place | None:
        """The user's line to name for a function: of its own module's construction, or of its
        call.
        """
        module = op.modules[-1] if op.modules else None
        native = module is not None and type(module).__module__.startswith("torch.nn.")
        return (self.built(module) if native else None) or op.place

    def constructed(self) -> Iterator[nn.Module]:
        """The modules that were constructed while we watched and still exist."""
        for ref, _ in list(self._built.values()):
            module = ref()
            if module is not None:
                yield module

    def adopt(self, root: nn.Module) -> None:
        """Learn the names below an outermost module; a module that holds known roots replaces
        them.
        """
        if root in self._adopted:
            return
        self._adopted.add(root)
        below = {id(module) for module in root.modules()}
        if id(root) in self._names and self._names[id(root)][0]() is root:
            return
        kept = [ref for ref in self._roots if (old := ref()) is not None and id(old) not in below]
        self._roots = [*kept, weakref.ref(root)]
        self._rename()

    def _rename(self) -> None:
        self._names.clear()
        self._parents.clear()
        alone = len(self.roots()) == 1
        for root in self.roots():
            prefix = "" if alone else f"{type(root).__name__}."
            for name, module in root.named_modules():
                label = f"{prefix}{name}".rstrip(".") or type(root).__name__
                self._names.setdefault(id(module), (weakref.ref(module), label))
                for child in module.children():
                    self._parents.setdefault(id(child), weakref.ref(module))
            for name, parameter in root.named_parameters():
                self._names.setdefault(id(parameter), (weakref.ref(parameter), f"{prefix}{name}"))

    def roots(self) -> list[nn.Module]:
        """The outermost modules of the training passes, those inside others left out."""
        return [root for ref in self._roots if (root := ref()) is not None]

    def name(self, thing: object) -> str:
        """The dotted name of a module or a parameter ("encoder.fc1", "fc1.weight"), or empty."""
        kept = self._names.get(id(thing))
        return kept[1] if kept is not None and kept[0]() is thing else ""

    def owner(self, parameter: Tensor) -> nn.Module | None:
        """The module that holds this parameter directly."""
        for root in self.roots():
            for module in root.modules():
                if any(parameter is own for own in module.parameters(recurse=False)):
                    return module
        return None

    # -- the clock of ticks -----------------------------------------------------------

    def advance(self) -> None:
        """One tick is over: decide what becomes of the next one.

        After the first ticks come *windows* of consecutive ticks, of which the last but one is
        looked at. Between them we sleep where the budget is used up.
        """
        self.tick += 1
        if self.tick < DENSE:
            return
        self.clock.end_start()
        if self.looking:
            self.looking, self._closing = False, True
        elif self._closing:
            self._closing, self.asleep = False, True
            self._may_wake(self.clock.spare())
        elif self.asleep:
            self._may_wake(self.tick % PAUSE == 0 and self.clock.spare())
        else:
            self.looking = self._ready()

    def wake(self) -> None:
        """A window begins."""
        self.asleep = False
        self._windows += 1
        self._look_at = self.tick + LENGTHS[self._windows % len(LENGTHS)]
        self._steps_at = self.steps + STEPS

    def _may_wake(self, spare: bool) -> None:
        due = self.tick >= self._due
        if due:
            self._due = int(self.tick * SPACING) + 1
        if due or spare:
            self.wake()

    def _ready(self) -> bool:
        """Whether the window has seen enough for its look."""
        late = self.tick - self._look_at
        return late >= 0 and (self.steps >= self._steps_at or not self.steps or late >= LONGEST)
