"""Where numbers stop being numbers: the first loss or gradient that is not finite, and why.

In a looked tick the functions that led to it are at hand, so the first one that made an inf or nan
of finite numbers is named; in others we say what was not finite when it was noticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nomagic.probes.descent import Descent
from nomagic.probes.probe import Probe
from nomagic.probes.run import Backward, Op
from nomagic.probes.sampling import ordinary
from nomagic.probes.trace import tensors
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

OPS = 20_000
"""Functions of one tick that are remembered."""
NAMES = 5
"""Names of broken weights that are kept."""

MASKS = frozenset(
    ("masked_fill", "masked_fill_", "where", "full", "full_like", "triu", "tril", "fill_")
)
"""Functions that write an infinity on purpose, for a softmax to make it nothing."""
STEEP = frozenset(
    (
        *("sqrt", "norm", "vector_norm", "linalg_norm", "linalg_vector_norm", "std"),
        *("pow", "__pow__", "cdist", "pairwise_distance"),
    )
)
"""Functions whose slope is infinite where their result is zero."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The first loss that was not finite (``gradient``: the first gradient, under a finite loss).

    ``weights`` names parameters that, or whose gradients, were not finite, ``inputs`` says
    whether what went into the network was (None: not seen). ``function`` made the first inf or nan
    of finite numbers, on the line ``culprit``, in ``module``; ``operand`` says of what.
    """

    tick: int
    step: int
    value: float
    place: Place | None
    gradient: bool = False
    weights: tuple[str, ...] = ()
    inputs: bool | None = None
    function: str = ""
    culprit: Place | None = None
    module: str = ""
    operand: str = ""


class Breakdowns(Probe[Breakdown]):
    """At most two rows: the first loss, and the first gradient, that was not finite."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Descent,)
    always: ClassVar[tuple[str, ...]] = ("on_backward",)

    def __init__(self, rows: Iterable[Breakdown] = ()) -> None:
        super().__init__(rows)
        self._ops: list[Op] = []
        self._steep: Op | None = None
        self._over = False

    def on_op(self, op: Op) -> None:
        """A function returned; it is kept until the backward."""
        if op.grads and not self._over and len(self._ops) < OPS:
            self._ops.append(op)

    def on_backward(self, backward: Backward) -> None:
        """See whether this is the first loss that is not finite."""
        if self._over:
            return
        ops, self._ops = self._ops, []
        if self.run.probe(Descent).broken:
            self._over = True
            self.rows.append(self._row(backward, ops))
        elif ops and not self.rows:
            self._steep = next((op for op in ops if _steep(op)), None)

    def on_gradients(self, backward: Backward) -> None:
        """See whether a gradient is not finite though the loss is."""
        steep, self._steep = self._steep, None
        if self._over or self.rows or steep is None:
            return
        broken = [name for name, parameter in self._parameters() if not _finite(parameter.grad)]
        if broken:
            row = Breakdown(
                backward.tick,
                self.run.steps,
                math.nan,
                backward.place,
                True,
                tuple(broken[:NAMES]),
                None,
                steep.name,
                steep.place,
                self.run.name(steep.modules[-1]) if steep.modules else "",
                "its result was 0, where its slope is infinite",
            )
            self.rows.append(row)

    def _parameters(self) -> list[tuple[str, Any]]:
        return [
            (self.run.name(parameter), parameter)
            for root in self.run.roots()
            for parameter in root.parameters()
        ]

    def _row(self, backward: Backward, ops: list[Op]) -> Breakdown:
        loss = backward.loss.detach().float().mean().item()
        broken = [name for name, parameter in self._parameters() if not _finite(parameter)]
        given = [tensor for call in backward.calls for tensor in tensors((call.args, call.kwargs))]
        inputs = all(_finite(tensor) for tensor in given) if given else None
        op = None if broken or inputs is False else _culprit(backward.loss, ops)
        return Breakdown(
            backward.tick,
            self.run.steps,
            loss,
            backward.place,
            False,
            (*broken[:NAMES], *(("…",) if len(broken) > NAMES else ())),
            inputs,
            op.name if op is not None else "",
            op.place if op is not None else None,
            self.run.name(op.modules[-1]) if op is not None and op.modules else "",
            _operand(op) if op is not None else "",
        )

    def on_end(self) -> None:
        """Let go of what a tick that never ended has kept."""
        self._ops, self._steep = [], None


def _finite(tensor: Any) -> bool:
    """Whether all of a tensor is finite; what cannot be read counts as finite."""
    return tensor is None or not ordinary(tensor) or bool(tensor.detach().isfinite().all())


def _steep(op: Op) -> bool:
    """Whether a function stood exactly where its slope is infinite."""
    if op.name not in STEEP or not ordinary(op.output):
        return False
    if op.name in ("pow", "__pow__"):
        power = op.args[1] if len(op.args) > 1 else op.kwargs.get("exponent")
        if not isinstance(power, int | float) or power >= 1:
            return False
    return op.output.requires_grad and not bool(op.output.detach().all())


def _culprit(loss: Tensor, ops: list[Op]) -> Op | None:
    """The function that made the first inf or nan that the loss comes from."""
    makers = {id(tensor): index for index, op in enumerate(ops) for tensor in tensors(op.output)}
    index = makers.get(id(loss), -1)
    while index >= 0:
        op = ops[index]
        bad = [tensor for tensor in tensors((op.args, op.kwargs)) if not _finite(tensor)]
        above = [makers.get(id(tensor), -1) for tensor in bad]
        above = [i for i in above if 0 <= i < index and ops[i].name not in MASKS]
        if not above:
            return op if not bad or all(_masked(tensor, makers, ops) for tensor in bad) else None
        index = max(above)
    return None


def _masked(tensor: Tensor, makers: dict[int, int], ops: list[Op]) -> bool:
    index = makers.get(id(tensor), -1)
    return index >= 0 and ops[index].name in MASKS


def _operand(op: Op) -> str:
    """What a function was given, in numbers."""
    said: list[str] = []
    for tensor in tensors((op.args, op.kwargs)):
        if ordinary(tensor):
            values = tensor.detach()
            zeros = int((values == 0).sum())
            low, high = float(values.min()), float(values.max())
            said.append(f"{low:.3g} to {high:.3g}" + (f" with {zeros:,} zeros" if zeros else ""))
    return "; ".join(said[:3])
