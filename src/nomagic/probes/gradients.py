"""When gradients are cleared: judged at the step of the optimizer that owns the parameter.

A step applies *stale* gradients when, since the optimizer's step before, a backward added to
gradients that were still those of that step, and nothing cleared them before this one. So
accumulation over several backwards is no fault (no step in between), and neither is a discriminator
that collects gradients from its generator's backward and clears them before its own. Where there
is no optimizer they are judged at the next backward: stale if they moved and the gradient stayed.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Step
from nomagic.probes.sampling import leaves, norms, ordinary
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

WATCHED = 2
"""Parameters watched for each optimizer: the smallest with a gradient in each half of its list."""
TRIES = 20
"""Steps at which an optimizer without any gradient is asked again."""
LARGE = 1_000_000
"""Larger parameters are not watched: a gradient that we hold is memory the script cannot free."""
ALIGNED = 0.999
"""Cosine between a move and the gradient that proves a plain update by hand."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """How one optimizer's gradients were cleared (``optimizer`` empty: updates by hand).

    Of ``steps`` judged, ``stale`` applied gradients of an earlier step again; of ``looked``
    ones ``emptied`` found none left of what the backward before had written. ``growth`` is the
    gradient's norm at the first and the last looked step; ``backward`` the line before the
    step, ``zeroing`` the zero_grad call that emptied it. ``aligned``: updates by hand that went
    exactly along the gradient.
    """

    optimizer: str
    parameter: str
    steps: int
    looked: int = 0
    stale: int = 0
    emptied: int = 0
    growth: tuple[float, float] = (math.nan, math.nan)
    backward: Place | None = None
    zeroing: Place | None = None
    aligned: int = 0


@dataclass(slots=True)
class _Watched:
    """One parameter under one optimizer; ``grad`` and ``version`` as they were when last seen."""

    parameter: weakref.ref[Tensor]
    name: str
    grad: Any = None
    version: int = -1
    stepped: bool = False
    """Its gradient was applied and has not been cleared since."""
    candidate: bool = False
    stale: bool = False
    filled: bool = False
    """The backward before left a gradient that is not zero."""
    usual: bool = False
    """The same at the last look."""
    cleared: bool = False
    """A zero_grad was called since."""
    before: Any = None

    def gradient(self) -> Tensor | None:
        parameter = self.parameter()
        return parameter.grad if parameter is not None else None

    def forget(self) -> None:
        """What the next step will do is not known."""
        self.stepped = self.candidate = self.stale = self.filled = self.cleared = False
        self.see(self.gradient())

    def same(self, grad: Any) -> bool:
        return grad is not None and grad is self.grad and grad._version == self.version

    def see(self, grad: Any) -> None:
        self.grad = grad
        self.version = -1 if grad is None else grad._version


@dataclass(slots=True)
class _Owner:
    kind: str
    watched: list[_Watched]
    remote: bool = False
    """On an accelerator, where values are only read in looked ticks,"""
    blind: bool = False
    """and a backward since the step before was not one."""
    tries: int = 0
    backwards: int = 0
    steps: int = 0
    looked: int = 0
    stale: int = 0
    emptied: int = 0
    aligned: int = 0
    first: float = math.nan
    last: float = math.nan
    culprit: str = ""
    backward: Place | None = None
    zeroing: Place | None = None


class Gradients(Probe[Clearing]):
    """One row for each optimizer that stepped, and one for updates by hand."""

    windows: ClassVar[tuple[str, ...]] = (
        "on_backward",
        "on_gradients",
        "on_zero_grad",
        "on_step",
    )

    def __init__(self, rows: Iterable[Clearing] = ()) -> None:
        super().__init__(rows)
        self._owners: dict[int, tuple[weakref.ref[Any], _Owner]] = {}
        self._past: list[_Owner] = []
        self._hand: _Owner | None = None
        self._zeroed: Place | None = None
        self._place: Place | None = None
        self._below: dict[int, list[_Watched]] = {}

    # -- the loop ---------------------------------------------------------------------------

    def on_backward(self, backward: Backward) -> None:
        """See whether the gradients that this adds to are still those of the step before."""
        self._place = backward.place
        for _, owner in self._owners.values():
            for watched in owner.watched:
                self._begin(watched)
        hand = self._hand
        if hand is not None:
            self._by_hand(hand, backward)
        elif not self.run.steps and self.run.tick == 1 and not backward.by_grad:
            self._hand = self._watch_leaves(backward)

    def on_wake(self) -> None:
        """Some ticks went by unheard: judge nothing before a whole step has been heard."""
        for _, owner in self._owners.values():
            owner.blind = True
            for watched in owner.watched:
                watched.forget()
        for watched in self._hand.watched if self._hand is not None else ():
            watched.before = None

    def _begin(self, watched: _Watched) -> None:
        grad: Any = watched.gradient()
        if watched.same(grad):
            if watched.stepped:
                watched.candidate = self._full(grad)
                watched.stepped = watched.candidate
        elif watched.stepped and (grad is not watched.grad or self._emptied(watched, grad)):
            watched.stepped = watched.stale = False
        watched.cleared = False
        watched.see(grad)

    def _emptied(self, watched: _Watched, grad: Any) -> bool:
        """Whether a gradient that was written to since is zero now; if we may not look, yes."""
        return grad is None or watched.cleared or not self._full(grad)

    def _full(self, grad: Any) -> bool:
        """Whether a gradient is known not to be zero: p.grad.data.zero_() leaves no other trace."""
        return (self.run.looking or grad.device.type == "cpu") and bool(grad.any())

    def on_gradients(self, backward: Backward) -> None:
        """See whether it added to them."""
        for ref, owner in self._owners.values():
            owner.backwards += 1
            owner.blind = owner.blind or (owner.remote and not self.run.looking)
            for watched in owner.watched:
                self._written(watched)
            if not owner.watched and owner.tries < TRIES:
                self._try(owner, ref())
        if self._hand is not None and self.run.looking:
            for watched in self._hand.watched:
                self._keep(watched)

    def _written(self, watched: _Watched) -> None:
        grad = watched.gradient()
        written = not watched.same(grad)
        if watched.candidate and written:
            watched.stale = True
        watched.candidate = False
        if grad is None:
            watched.filled = False
        elif written:
            if self.run.looking:
                watched.usual = bool(grad.any())
            watched.filled = watched.usual
        watched.see(grad)

    def on_zero_grad(self, owner: Any, place: Place | None) -> None:
        """Gradients were cleared by a call."""
        self._zeroed = place
        kept = self._owners.get(id(owner))
        if kept is not None:
            for watched in kept[1].watched:
                watched.cleared = True
        elif not hasattr(owner, "param_groups"):
            for watched in self._held(owner):
                watched.cleared = True

    def _held(self, module: Any) -> list[_Watched]:
        """What is watched of a module's parameters."""
        held = self._below.get(id(module))
        if held is None:
            own = {id(parameter) for parameter in module.parameters()}
            every = [watched for _, owner in self._owners.values() for watched in owner.watched]
            held = [w for w in every if id(w.parameter()) in own]
            self._below[id(module)] = held
        return held

    def on_before_step(self, step: Step) -> None:
        """See in looked ticks whether anything is left to apply."""
        kept = self._owners.get(id(step.optimizer))
        if kept is None or kept[0]() is not step.optimizer or not kept[1].backwards:
            return
        owner = kept[1]
        owner.looked += 1
        gone = [self._gone(watched) for watched in owner.watched]
        filled = any(watched.filled for watched in owner.watched)
        if filled and all(gone):
            owner.emptied += 1
            owner.zeroing = self._zeroed
        for watched, empty in zip(owner.watched, gone, strict=True):
            if empty:
                watched.stale = False

    def _gone(self, watched: _Watched) -> bool:
        grad = watched.gradient()
        return grad is None or not bool(grad.any())

    def on_step(self, step: Step) -> None:
        """Judge the step, and remember the gradients that it leaves behind."""
        if self._hand is not None:
            self._hand = None
        owner = self._owner(step)
        if owner is None:
            return
        if owner.backwards and not (owner.blind or (owner.remote and not self.run.looking)):
            owner.steps += 1
            owner.backward = self._place
            stale = next((watched for watched in owner.watched if watched.stale), None)
            if stale is not None:
                owner.stale += 1
                owner.culprit = stale.name
            if self.run.looking:
                self._measure(owner)
        owner.backwards, owner.blind = 0, False
        for watched in owner.watched:
            grad = watched.gradient()
            watched.stepped = grad is not None
            watched.stale = watched.filled = watched.cleared = False
            watched.see(grad)

    def _measure(self, owner: _Owner) -> None:
        grad = owner.watched[0].grad if owner.watched else None
        if grad is not None:
            owner.last = norms([grad])[0]
            if math.isnan(owner.first):
                owner.first = owner.last

    # -- choosing what to watch --------------------------------------------------------------

    def _owner(self, step: Step) -> _Owner | None:
        optimizer = step.optimizer
        kept = self._owners.get(id(optimizer))
        if (
            kept is not None
            and kept[0]() is optimizer
            and (kept[1].watched or kept[1].tries >= TRIES)
        ):
            return kept[1]
        if kept is None or kept[0]() is not optimizer:
            for key in [key for key, (ref, _) in self._owners.items() if ref() is None]:
                self._past.append(self._owners.pop(key)[1])
            kept = (weakref.ref(optimizer), _Owner(type(optimizer).__name__, []))
            self._owners[id(optimizer)] = kept
        self._try(kept[1], optimizer)
        return kept[1]

    def _try(self, owner: _Owner, optimizer: Any) -> None:
        owner.tries += 1
        owner.backwards = 0
        self._below.clear()
        if optimizer is not None:
            owner.watched = self._choose([p for g in optimizer.param_groups for p in g["params"]])
            parameters = (watched.parameter() for watched in owner.watched)
            owner.remote = any(p is not None and p.device.type != "cpu" for p in parameters)

    def _choose(self, parameters: list[Tensor]) -> list[_Watched]:
        """The smallest with a gradient in each part of the list."""
        part = max(1, math.ceil(len(parameters) / WATCHED))
        chosen: list[_Watched] = []
        for start in range(0, len(parameters), part):
            some = sorted(parameters[start : start + part], key=lambda p: p.numel())
            usable = (p for p in some if p.numel() <= LARGE and ordinary(p.grad))
            parameter = next((p for p in usable if p.grad is not None and bool(p.grad.any())), None)
            if parameter is not None:
                name = self.run.name(parameter) or "a parameter"
                chosen.append(_Watched(weakref.ref(parameter), name))
        return chosen

    # -- updates by hand ---------------------------------------------------------------------

    def _watch_leaves(self, backward: Backward) -> _Owner | None:
        found = [leaf for leaf in leaves(backward.loss) if ordinary(leaf.grad)]
        owner = _Owner("", self._choose(found))
        if not owner.watched:
            return None
        for watched in owner.watched:
            watched.see(watched.gradient())
        return owner

    def _keep(self, watched: _Watched) -> None:
        """Remember the values, to see how they move."""
        parameter = watched.parameter()
        if parameter is not None:
            watched.before = parameter.detach().clone()
            watched.see(parameter.grad)

    def _by_hand(self, owner: _Owner, backward: Backward) -> None:
        """See whether the gradient was applied and left as it is."""
        moved = stale = aligned = False
        for watched in owner.watched:
            parameter, before = watched.parameter(), watched.before
            watched.before = None
            if parameter is None or before is None or parameter.shape != before.shape:
                continue
            move = parameter.detach() - before
            if not bool(move.any()):
                continue
            moved = True
            if watched.same(parameter.grad) and bool(watched.grad.any()):
                stale = True
                owner.culprit = watched.name
                aligned = aligned or _cosine(move, watched.grad) > ALIGNED
        owner.steps += moved
        owner.stale += stale
        owner.aligned += aligned
        owner.backward = backward.place

    # -- the end ----------------------------------------------------------------------------

    def on_end(self) -> None:
        """Turn them into rows."""
        owners = [*self._past, *(owner for _, owner in self._owners.values())]
        if self._hand is not None:
            owners.append(self._hand)
        self.rows = [
            Clearing(
                optimizer=owner.kind,
                parameter=owner.culprit or (owner.watched[0].name if owner.watched else ""),
                steps=owner.steps,
                looked=owner.looked,
                stale=owner.stale,
                emptied=owner.emptied,
                growth=(owner.first, owner.last),
                backward=owner.backward,
                zeroing=owner.zeroing,
                aligned=owner.aligned,
            )
            for owner in owners
        ]
        self._owners, self._past, self._hand, self._below = {}, [], None, {}


def _cosine(move: Tensor, grad: Tensor) -> float:
    product = float((move.float() * grad.float()).sum())
    size = float(move.float().norm()) * float(grad.float().norm())
    return abs(product) / size if size > 0 else 0.0
