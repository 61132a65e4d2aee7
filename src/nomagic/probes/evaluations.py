"""Scores of training and evaluation passes: loss, accuracy, recall by class, predictions.

A score comes from a loss function that the script calls on an output, from a comparison of
predictions with labels, or from the labels of the loader's batch. An evaluation is the calls
without gradients between two backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nomagic.probes.modes import fingerprint
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Call, Op
from nomagic.probes.trace import is_wrapped, tensors
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

CLASSIFIERS = {"cross_entropy": "logits", "nll_loss": "log-probabilities"}
REGRESSORS = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
LOSSES = frozenset(
    {*CLASSIFIERS, *REGRESSORS, "binary_cross_entropy", "binary_cross_entropy_with_logits"}
)
WATCHED = 64
"""Samples of each evaluation whose predicted classes are kept."""
MOST = 2_000
"""Scores kept; beyond it every second one is let go."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one pass scored: a whole evaluation, or one looked training tick.

    ``correct`` of ``counted`` predictions were right (0 of 0: no classification seen); ``loss``
    is a mean per sample (or per pixel, token), NaN where none was seen; ``baseline`` the loss of
    a constant that knows the targets' frequencies (classes: their entropy; regression: their
    variance). ``classes`` maps a class to (seen, right); ``predicted`` are the classes of the
    first samples. ``inputs`` fingerprints the first input, to tell whether two evaluations saw
    the same data. ``training`` is the mode flag of the module, ``dense`` says that a sample has
    many predictions (tokens, pixels).
    """

    evaluation: bool
    tick: int
    step: int
    place: Place | None
    loader: Place | None
    kind: str
    samples: int
    correct: int = 0
    counted: int = 0
    loss: float = math.nan
    baseline: float = math.nan
    spread: float = math.nan
    classes: dict[int, tuple[int, int]] = field(default_factory=dict)
    predicted: tuple[int, ...] = ()
    inputs: tuple[Any, ...] = ()
    training: bool = False
    calls: int = 1
    dense: bool = False

    @property
    def accuracy(self) -> float:
        """The share of right predictions, NaN where none was counted."""
        return self.correct / self.counted if self.counted else math.nan


@dataclass(slots=True)
class _Open:
    """An evaluation under way."""

    tick: int
    step: int
    place: Place | None
    loader: int
    training: bool
    inputs: tuple[Any, ...]
    kind: str = ""
    dense: bool = False
    samples: int = 0
    calls: int = 0
    looked: int = 0
    correct: int = 0
    counted: int = 0
    losses: float = 0.0
    weighed: int = 0
    targets: int = 0
    total: float = 0.0
    squares: float = 0.0
    squared_losses: float = 0.0
    classes: dict[int, tuple[int, int]] = field(default_factory=dict)
    predicted: list[int] = field(default_factory=list)


class Evaluations(Probe[Score]):
    """Scores of training and evaluation passes, in the order of the run."""

    def __init__(self, rows: Iterable[Score] = ()) -> None:
        super().__init__(rows)
        self._open: _Open | None = None
        self._call: Call | None = None
        self._derived: dict[int, Tensor] = {}
        self._kinds: dict[str, str] = {}
        self._done = False
        self._batch = 0
        self._batch_of = -1
        self._loaders: dict[int, Place] = {}

    # -- what happens -------------------------------------------------------------------

    def on_loader(self, loader: Any, place: Place | None) -> None:
        """Remember where each loader was constructed."""
        if place is not None:
            self._loaders[id(loader)] = place

    def on_enter(self, call: Call) -> None:
        """The call before is over: if nothing scored it, try the labels of its batch."""
        self._settle()
        if call.tick != self._batch_of:
            first = next(tensors(call.args), None)
            self._batch = first.shape[0] if first is not None and first.ndim else 0
            self._batch_of = call.tick if call.grads else -1
        if call.grads or (self._open is not None and self._open.tick != call.tick):
            self._close()

    def on_call(self, call: Call) -> None:
        """An evaluation call joins the evaluation under way, or begins one."""
        if call.grads:
            return
        self._done = False
        self._derived.update({id(t): t for t in tensors(call.output)})
        loader = id(call.batch.loader) if call.batch is not None else 0
        current = self._open
        first = next(tensors((call.args, call.kwargs)), None)
        if current is None or (loader and current.loader and loader != current.loader):
            self._close()
            seen = fingerprint(first) if first is not None else ()
            training = call.module.training
            current = _Open(call.tick, self.run.steps, call.place, loader, training, seen)
            self._open = current
        self._call = call
        current.calls += 1
        if first is not None and first.ndim:
            current.samples += first.shape[0]

    def on_op(self, op: Op) -> None:
        """Losses and comparisons score; other functions pass an output on."""
        if op.name in LOSSES:
            self._loss(op)
        elif not op.grads and self._derived and not op.modules:
            self._follow(op)

    def on_backward(self, backward: Backward) -> None:
        """Training goes on: the evaluation is over."""
        self._settle()
        self._close()

    def on_end(self) -> None:
        """Close what is open and let go of everything live."""
        self._settle()
        self._close()
        self._derived = {}

    # -- scoring --------------------------------------------------------------------------

    def _loss(self, op: Op) -> None:
        given = [t for t in tensors((op.args, op.kwargs)) if t.ndim]
        if len(given) < 2 or is_wrapped(given[0]):
            return
        output, target = given[0], given[1]
        if op.grads and output.requires_grad:
            first = next(tensors(self.run.calls[-1].output), None) if self.run.calls else None
            if first is not None and first.shape == output.shape:
                self._kinds["training"] = op.name
            self._training(op, output, target)
        elif not op.grads and self._open is not None and not self._done:
            self._done = True
            self._open.kind = op.name
            score(self._open, op.name, output, target)

    def _training(self, op: Op, output: Tensor, target: Tensor) -> None:
        call = self.run.calls[-1] if self.run.calls else None
        loader = id(call.batch.loader) if call is not None and call.batch is not None else 0
        mode = call.module.training if call is not None else True
        one = _Open(self.run.tick, self.run.steps, op.place, loader, mode, (), op.name)
        one.samples = output.shape[0]
        one.calls = 1
        one.dense = bool(self._batch) and target.numel() > self._batch
        score(one, op.name, output, target)
        self._keep(one, evaluation=False)

    def _follow(self, op: Op) -> None:
        mine = [value for value in op.args if self._derived.get(id(value)) is value]
        if not mine:
            return
        others = [t for t in tensors((op.args, op.kwargs)) if id(t) not in self._derived]
        if op.name in ("eq", "__eq__") and others and not self._done and self._open is not None:
            target = others[0]
            if target.ndim and not target.is_floating_point():
                self._done = True
                self._compare(self._open, mine[0], target)
        if len(self._derived) < 200:
            self._derived.update({id(t): t for t in tensors(op.output)})

    def _compare(self, current: _Open, predicted: Tensor, target: Tensor) -> None:
        """Predictions met labels; where the output fits them, its loss is known, too."""
        kind = self._kinds.get("training", "")
        output = next(tensors(self._call.output), None) if self._call is not None else None
        if output is not None and kind in CLASSIFIERS and fits(kind, output, target):
            current.kind = kind
            score(current, kind, output, target)
        else:
            compare(current, predicted, target)

    def _settle(self) -> None:
        """Where the script itself scored nothing (labels went to numpy), use the batch's labels."""
        call, self._call = self._call, None
        self._derived = {}
        kind = self._kinds.get("training", "")
        if call is None or self._done or self._open is None or call.batch is None or not kind:
            return
        output = next(tensors(call.output), None)
        if output is None or is_wrapped(output):
            return
        for target in tensors(call.batch.value):
            if fits(kind, output, target):
                self._open.kind = kind
                score(self._open, kind, output, target.to(output.device))
                return

    def _close(self) -> None:
        current, self._open = self._open, None
        if current is not None:
            self._keep(current, evaluation=True)

    def _keep(self, done: _Open, evaluation: bool) -> None:
        if not done.looked:
            return
        loader = self._loaders.get(done.loader)
        mean = done.losses / done.weighed if done.weighed else math.nan
        squares = done.squared_losses / done.weighed if done.weighed else math.nan
        self.rows.append(
            Score(
                evaluation=evaluation,
                tick=done.tick,
                step=done.step,
                place=done.place,
                loader=loader,
                kind=done.kind,
                samples=done.samples,
                correct=done.correct,
                counted=done.counted,
                loss=mean,
                baseline=baseline(done),
                spread=math.sqrt(max(0.0, squares - mean * mean)),
                classes=dict(done.classes),
                predicted=tuple(done.predicted),
                inputs=done.inputs,
                training=done.training,
                calls=done.calls,
                dense=done.dense,
            )
        )
        if len(self.rows) > MOST:
            training = [row for row in self.rows if not row.evaluation]
            dropped = {id(row) for row in training[1:-1:2]} or {
                id(row) for row in self.rows[1:-1:2]
            }
            self.rows = [row for row in self.rows if id(row) not in dropped]


def fits(kind: str, output: Tensor, target: Tensor) -> bool:
    """Whether a batch's tensor can be the target of a loss of this kind for this output."""
    if kind in CLASSIFIERS:
        shape = (output.shape[0], *output.shape[2:]) if output.ndim > 1 else ()
        return (
            not target.is_floating_point()
            and tuple(target.shape) == tuple(shape)
            and output.ndim > 1
        )
    return target.is_floating_point() and target.shape == output.shape


def score(into: _Open, kind: str, output: Tensor, target: Tensor) -> None:
    """Add the losses, right answers and target statistics of one batch."""
    into.looked += 1
    if kind in CLASSIFIERS and not target.is_floating_point() and output.ndim >= 1:
        _classes(into, kind, output.detach(), target)
    elif kind in REGRESSORS and output.shape == target.shape and target.is_floating_point():
        _numbers(into, kind, output.detach(), target)
    elif kind.startswith("binary") and output.shape == target.shape:
        _binary(into, kind, output.detach(), target)


def _classes(into: _Open, kind: str, output: Tensor, target: Tensor) -> None:
    from torch.nn.functional import cross_entropy, nll_loss

    if output.ndim == 1:
        output, target = output[None], target.reshape(1)
    if output.ndim > 2:
        output = output.movedim(1, -1).reshape(-1, output.shape[1])
        target = target.reshape(-1)
    valid = (target >= 0) & (target < output.shape[1])
    output, target = output[valid].float(), target[valid]
    if not len(target):
        return
    function = cross_entropy if kind == "cross_entropy" else nll_loss
    _losses(into, function(output, target, reduction="none"))
    compare(into, output.argmax(1), target, looked=False)


def _numbers(into: _Open, kind: str, output: Tensor, target: Tensor) -> None:
    difference = output.double() - target.double()
    _losses(into, difference.square() if kind != "l1_loss" else difference.abs())
    into.targets += target.numel()
    into.total += float(target.double().sum())
    into.squares += float(target.double().square().sum())


def _binary(into: _Open, kind: str, output: Tensor, target: Tensor) -> None:
    from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

    logits = kind.endswith("logits")
    function = binary_cross_entropy_with_logits if logits else binary_cross_entropy
    output = output.float()
    if not logits and not bool(((output >= 0) & (output <= 1)).all()):
        return
    _losses(into, function(output, target.float(), reduction="none"))
    into.targets += target.numel()
    into.total += float(target.double().sum())
    into.squares += float(target.double().square().sum())
    hard = bool(((target == 0) | (target == 1)).all())
    if hard:
        predicted = (output > (0 if logits else 0.5)).long()
        compare(into, predicted, target.long(), looked=False)


def _losses(into: _Open, losses: Tensor) -> None:
    flat = losses.double()
    into.losses += float(flat.sum())
    into.squared_losses += float(flat.square().sum())
    into.weighed += losses.numel()


def compare(into: _Open, predicted: Tensor, target: Tensor, looked: bool = True) -> None:
    """Add right predictions and per-class counts of one batch."""
    if looked:
        into.looked += 1
    predicted, target = predicted.reshape(-1), target.reshape(-1)
    if predicted.shape != target.shape or target.is_floating_point():
        return
    if predicted.is_floating_point() or int(target.min()) < 0:
        return
    predicted, target = predicted.long(), target.long()
    right = predicted == target
    into.correct += int(right.sum())
    into.counted += target.numel()
    if int(target.max()) < 1_000:
        seen, good = target.bincount(), target[right].bincount(minlength=int(target.max()) + 1)
        for label, (n, k) in enumerate(zip(seen.tolist(), good.tolist(), strict=True)):
            if n:
                before = into.classes.get(label, (0, 0))
                into.classes[label] = (before[0] + n, before[1] + k)
    room = WATCHED - len(into.predicted)
    if room > 0:
        into.predicted.extend(int(value) for value in predicted[:room].tolist())


def baseline(done: _Open) -> float:
    """The loss of the best constant on these targets, NaN where it is not known."""
    if done.kind in CLASSIFIERS and done.classes:
        total = sum(n for n, _ in done.classes.values())
        return -sum(n / total * math.log(n / total) for n, _ in done.classes.values())
    if not done.targets:
        return math.nan
    mean = done.total / done.targets
    if done.kind.startswith("binary"):
        return entropy(mean)
    return (
        max(0.0, done.squares / done.targets - mean * mean) if done.kind == "mse_loss" else math.nan
    )


def entropy(p: float) -> float:
    """The entropy in nats of a coin that falls heads with probability p."""
    return 0.0 if not 0 < p < 1 else -p * math.log(p) - (1 - p) * math.log(1 - p)
