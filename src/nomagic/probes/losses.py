"""Every loss that the script computes, in training and evaluation: what went in, what came out.

One row for each line, kind and use, however long the run: the first call in full, and means over
the calls that were looked at. ``plain``, the mean loss of one element, is computed from the tensors
themselves, so that class weights, smoothing and reductions do not disturb it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nomagic.probes import formulas
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Op
from nomagic.probes.trace import PLUMBING, Node, Trace, settings
from nomagic.words import Place

KINDS = {
    "cross_entropy": "cross_entropy",
    "cross_entropy_loss": "cross_entropy",
    "nll_loss": "nll",
    "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "smooth_l1_loss": "smooth_l1",
    "huber_loss": "huber",
    "kl_div": "kl_div",
    "gaussian_nll_loss": "gaussian_nll",
    "poisson_nll_loss": "poisson_nll",
    "hinge_embedding_loss": "hinge_embedding",
    "soft_margin_loss": "soft_margin",
    "multi_margin_loss": "multi_margin",
    "multilabel_margin_loss": "multilabel_margin",
    "multilabel_soft_margin_loss": "multilabel_soft_margin",
}
"""Torch functions that are losses of an input and a target, by their name."""

CLASSES = frozenset({"cross_entropy", "nll"})
"""Losses with an axis of classes, and targets that are indices or probabilities."""
BINARY = frozenset({"bce", "bce_with_logits"})
REGRESSION = frozenset({"mse", "l1", "smooth_l1", "huber"})

ROWS = 64
"""Rows kept; a script that has more loss lines is told in ``trouble``."""
PER_TICK = 64
"""Calls of one line measured in one tick, such as those of a whole evaluation."""
NODES = 20_000
"""Nodes of the autograd graph that are searched for the losses of a backward."""
PATIENT = 4
"""Ticks that a loss may wait for its backward: several can be computed before the first is sent."""
WAITING = 4096
"""Losses that may wait at a time; an evaluation without no_grad lets thousands wait in vain."""
HISTORY = 256
"""Values kept of one line, over the whole run."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A tensor's values: smallest, largest, mean, mean square, shares beyond -1, 0 and 1."""

    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    square: float = math.nan
    negative: float = math.nan
    above_one: float = math.nan
    below_minus_one: float = math.nan

    @property
    def in_unit(self) -> float:
        """The share of the values in [0, 1]."""
        return 1 - self.negative - self.above_one

    @property
    def variance(self) -> float:
        """Mean square around the mean."""
        return max(0.0, self.square - self.mean**2)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call showed, or all of them together.

    ``sum_to_one`` is the share of rows (along the classes) of the input that sum to 1,
    ``log_sum_to_zero`` the share whose exponentials do: log-probabilities. ``plain`` is the mean
    loss of one element without weights, smoothing and reduction (for every regression the mean
    squared difference), ``value`` the mean of what the call returned.
    """

    input: Spread = Spread()
    target: Spread = Spread()
    sum_to_one: float = math.nan
    log_sum_to_zero: float = math.nan
    plain: float = math.nan
    value: float = math.nan


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss line of the script.

    ``training`` says that it fed a backward; then ``backward`` is that line, ``whole`` the whole
    loss when it first did. ``built`` is the line that constructed the loss module, if it is one;
    ``handmade`` that it was recognised among plain operations. ``chain`` and ``target_chain`` are
    the functions that made input and target at the first call, nearest first. ``steps`` counts the
    optimizer steps before it, ``counts`` the targets of each class; ``restored`` that a module's
    weights had been loaded by then.
    """

    kind: str
    place: Place | None
    training: bool
    calls: int = 1
    tick: int = 0
    steps: int = 0
    restored: bool = False
    built: Place | None = None
    handmade: bool = False
    input_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    input_dtype: str = ""
    target_dtype: str = ""
    classes: int = 0
    soft: bool = False
    reduction: str = "mean"
    label_smoothing: float = 0.0
    weighted: bool = False
    ignore_index: int = -100
    chain: tuple[Node, ...] = ()
    target_chain: tuple[Node, ...] = ()
    first: Seen = Seen()
    last: Seen = Seen()
    seen: Seen = Seen()
    counts: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()
    backward: Place | None = None
    whole: float = math.nan

    @property
    def entropy(self) -> float:
        """Nats of the class frequencies seen in the targets; nan where none were counted."""
        total = sum(self.counts)
        if total <= 0:
            return math.nan
        return -sum(n / total * math.log(n / total) for n in self.counts if n > 0)

    @property
    def name(self) -> str:
        """The kind in words."""
        return self.kind.replace("_", " ")

    @property
    def made(self) -> tuple[Node, ...]:
        """The functions that made the input, nearest first, plumbing left out."""
        return tuple(node for node in self.chain if node.name not in PLUMBING)

    @property
    def elements(self) -> int:
        """How many predictions one call judges."""
        return math.prod(self.input_shape) // max(1, self.classes)


@dataclass(slots=True)
class _Line:
    """A row in the making; lists of numbers are in the order of `formulas.measure`."""

    fields: dict[str, Any]
    calls: int = 0
    tick: int = -1
    in_tick: int = 0
    fed: bool = False
    backward: Place | None = None
    whole: float = math.nan
    counts: Any = None
    first: list[float] = field(default_factory=list[float])
    last: list[float] = field(default_factory=list[float])
    sums: list[float] = field(default_factory=lambda: [math.nan] * formulas.NUMBERS)
    known: list[int] = field(default_factory=lambda: [0] * formulas.NUMBERS)
    history: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    def add(self, tick: int, numbers: list[float]) -> None:
        """Take in the numbers of one call; those that are not numbers are left out of the sums."""
        self.first = self.first or numbers
        self.last = numbers
        self.history.append((tick, numbers[formulas.VALUE]))
        if len(self.history) > HISTORY:
            self.history = self.history[::2]
        for i, number in enumerate(numbers):
            if math.isnan(number):
                continue
            before = self.sums[i]
            self.known[i] += 1
            if self.known[i] == 1:
                self.sums[i] = number
            elif i in formulas.LOWS:
                self.sums[i] = min(before, number)
            elif i in formulas.HIGHS:
                self.sums[i] = max(before, number)
            else:
                self.sums[i] = before + (number - before) / self.known[i]

    def row(self, place: Place | None, kind: str) -> Loss:
        """The finished row."""
        return Loss(
            kind=kind,
            place=place,
            training=self.fed,
            calls=self.calls,
            first=_seen(self.first),
            last=_seen(self.last),
            seen=_seen(self.sums),
            counts=tuple(self.counts.tolist()) if self.counts is not None else (),
            history=tuple(self.history),
            backward=self.backward,
            whole=self.whole,
            **self.fields,
        )


def _seen(numbers: list[float]) -> Seen:
    if not numbers:
        return Seen()
    n = formulas.SPREAD
    return Seen(Spread(*numbers[:n]), Spread(*numbers[n : 2 * n]), *numbers[2 * n :])


class Losses(Probe[Loss]):
    """The losses of the script, by line, kind and use."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Trace,)

    def __init__(self, rows: Any = ()) -> None:
        super().__init__(rows)
        self._lines: dict[tuple[Place | None, str, bool], _Line] = {}
        self._waiting: list[tuple[int, _Line, int]] = []
        self._unread: list[tuple[_Line, int, Any]] = []
        self._restored = False

    def training(self, *kinds: str) -> Iterator[Loss]:
        """The rows that fed a backward, of these kinds only if any are named."""
        return (row for row in self if row.training and (not kinds or row.kind in kinds))

    # -- hearing ---------------------------------------------------------------------------

    def on_restore(self, owner: Any, state: Any, place: Place | None) -> None:
        """The state of a module or an optimizer was loaded."""
        self._restored = self._restored or hasattr(owner, "named_parameters")

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor, perhaps a loss."""
        kind = KINDS.get(op.name)
        if kind is not None:
            given = formulas.operands(op, kind)
        elif op.name in formulas.LAST:
            kind, given = formulas.recognise(op, self.run.probe(Trace).maker)
        else:
            return
        if given is not None:
            self._heard(op, kind, given)

    def _heard(self, op: Op, kind: str, given: tuple[Any, Any]) -> None:
        order = formulas.order(op.output) if op.grads else None
        line = self._line(op, kind, given, order is not None)
        if line is None:
            return
        if line.tick != self.run.tick:
            line.tick, line.in_tick = self.run.tick, 0
        line.in_tick += 1
        line.calls += 1
        if order is not None and not line.fed and len(self._waiting) < WAITING:
            self._waiting.append((order, line, self.run.tick))
        if line.in_tick <= PER_TICK:
            self._measure(op, line, kind, given)

    def _measure(self, op: Op, line: _Line, kind: str, given: tuple[Any, Any]) -> None:
        ignore, classes = line.fields["ignore_index"], line.fields["classes"]
        try:
            numbers = formulas.measure(kind, *given, op.output, ignore)
            counts = formulas.count(given, classes, ignore, line.counts)
        except (RuntimeError, IndexError, NotImplementedError) as error:
            self.trouble = f"the numbers of a loss could not be read: {error}"
            return
        line.counts = counts
        if numbers is not None:
            self._unread.append((line, self.run.tick, numbers))
        if len(self._unread) >= 64:
            self._read()

    def _line(self, op: Op, kind: str, given: tuple[Any, Any], grads: bool) -> _Line | None:
        key = (op.place, kind, grads)
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= ROWS:
                self.trouble = f"more than {ROWS} loss lines; the others were not looked at"
                return None
            line = self._lines[key] = _Line(self._fields(op, kind, given))
        return line

    def _fields(self, op: Op, kind: str, given: tuple[Any, Any]) -> dict[str, Any]:
        pred, target = given
        handmade = op.name not in KINDS
        chosen = {} if handmade else settings(op.func, op.args, op.kwargs)
        chosen = {name: value for name, value in chosen.items() if value is not None}
        trace = self.run.probe(Trace)
        owner = op.modules[-1] if op.modules else None
        named = type(owner).__module__ == "torch.nn.modules.loss"
        classes = kind in CLASSES and pred.dim() > 0
        return {
            "tick": self.run.tick,
            "steps": self.run.steps,
            "restored": self._restored,
            "built": self.run.built(owner) if named else None,
            "handmade": handmade,
            "input_shape": tuple(pred.shape),
            "target_shape": tuple(target.shape),
            "output_shape": tuple(op.output.shape),
            "input_dtype": str(pred.dtype).removeprefix("torch."),
            "target_dtype": str(target.dtype).removeprefix("torch."),
            "classes": int(pred.shape[min(1, pred.dim() - 1)]) if classes else 0,
            "soft": classes and target.is_floating_point(),
            "reduction": str(chosen.get("reduction", "mean")),
            "label_smoothing": float(chosen.get("label_smoothing", 0.0)),
            "weighted": not handmade and formulas.weighted(op),
            "ignore_index": int(chosen.get("ignore_index", -100)),
            "chain": trace.chain(pred),
            "target_chain": trace.chain(target),
        }

    # -- which losses fed the backward --------------------------------------------------------

    def on_backward(self, backward: Backward) -> None:
        """Gradients are about to flow: what they flow through are training losses."""
        wanted = {order: line for order, line, _ in self._waiting}
        for order in formulas.upstream(backward.loss, wanted, NODES):
            line = wanted[order]
            line.fed = True
            line.backward = backward.place
            line.whole = formulas.number(backward.loss)
        self._waiting = [
            (order, line, tick)
            for order, line, tick in self._waiting
            if not line.fed and backward.tick - tick < PATIENT
        ]

    # -- numbers -----------------------------------------------------------------------------

    def _read(self) -> None:
        """Bring the numbers measured on the device home, all at once."""
        unread, self._unread = self._unread, []
        read = formulas.home([numbers for *_, numbers in unread])
        for (line, tick, _), numbers in zip(unread, read, strict=True):
            line.add(tick, numbers)

    def on_end(self) -> None:
        """The script is over: rows of plain values."""
        self._read()
        self.rows += [line.row(place, kind) for (place, kind, _), line in self._lines.items()]
        self._lines.clear()
        self._waiting.clear()
        if not self.rows and self.run.compiled:
            self.trouble = "the model is compiled, its losses cannot be seen"
