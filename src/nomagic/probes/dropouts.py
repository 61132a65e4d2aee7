"""Dropout: where, how strong, and whether it drops in calls that are meant to be exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nomagic.probes.probe import Probe
from nomagic.probes.run import Call, Op
from nomagic.words import Place

if TYPE_CHECKING:
    from torch import Tensor

SITES = 200
"""Dropouts that are followed; later ones are left out."""
CALLS = 50
"""Lines that call a network in evaluation with one dropout active, of which the place is kept."""

NAMES = frozenset(
    [
        "dropout",
        "dropout_",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "alpha_dropout_",
        "feature_dropout",
        "feature_dropout_",
        "feature_alpha_dropout",
        "feature_alpha_dropout_",
    ]
)
ATTENTION = "scaled_dot_product_attention"
"""Drops by its own ``dropout_p``, whatever the mode of the module."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """One dropout of a network, over all looked-at calls.

    ``own``: it is a module of its own, not a function call. ``evaluating`` are the lines that
    called the network, itself in evaluation mode, while this dropout dropped, with how many of
    these calls went over several copies of one sample, as in Monte Carlo dropout: (line, calls,
    calls with copies).
    """

    place: Place | None
    name: str
    p: float
    own: bool
    features: int
    evaluating: tuple[tuple[Place | None, int, int], ...] = ()


@dataclass(slots=True)
class _Site:
    place: Place | None
    name: str
    p: float
    own: bool
    features: int
    evaluating: dict[Place | None, list[int]] = field(default_factory=dict[Any, Any])


class Dropouts(Probe[Dropout]):
    """One row for each line that drops, in the order of their first calls."""

    def __init__(self, rows: Iterable[Dropout] = ()) -> None:
        super().__init__(rows)
        self._sites: dict[Any, _Site] = {}
        self._dropped: list[_Site] = []

    def on_enter(self, call: Call) -> None:
        """Nothing has dropped in this call yet."""
        self._dropped.clear()

    def on_op(self, op: Op) -> None:
        """A torch function returned a tensor; does it drop."""
        if op.name not in NAMES and op.name != ATTENTION:
            return
        p, training = _settings(op)
        if not p or not training:
            return
        owner = op.modules[-1] if op.modules else None
        own = owner is not None and "Dropout" in type(owner).__name__
        key = (self.run.anchor(op), op.name, id(owner) if own else 0)
        site = self._sites.get(key)
        if site is None and len(self._sites) < SITES:
            shape = op.output.shape if hasattr(op.output, "shape") else (0,)
            features = shape[1] if len(shape) == 4 else shape[-1] if shape else 0
            site = self._sites[key] = _Site(key[0], op.name, p, own, features)
        if site is None or owner is None or own or site in self._dropped:
            return
        if not owner.training and not op.modules[0].training:
            self._dropped.append(site)

    def on_call(self, call: Call) -> None:
        """The call is over: note the line that asked a network in evaluation mode for noise."""
        for site in self._dropped:
            counts = site.evaluating.get(call.place)
            if counts is None and len(site.evaluating) < CALLS:
                counts = site.evaluating[call.place] = [0, 0]
            if counts is not None:
                counts[0] += 1
                counts[1] += _copies(call)
        self._dropped.clear()

    def on_end(self) -> None:
        """Turn what was seen into rows."""
        self._dropped.clear()
        self.rows.extend(
            Dropout(
                site.place,
                site.name,
                site.p,
                site.own,
                site.features,
                tuple((place, calls, copies) for place, (calls, copies) in site.evaluating.items()),
            )
            for site in self._sites.values()
        )
        self._sites.clear()


def _settings(op: Op) -> tuple[float, bool]:
    """How strongly it drops, and whether it does."""
    if op.name == ATTENTION:
        p = op.kwargs.get("dropout_p", op.args[4] if len(op.args) > 4 else 0.0)
        return float(p), True
    p = op.kwargs.get("p", op.args[1] if len(op.args) > 1 else 0.5)
    training = op.kwargs.get(
        "training", op.kwargs.get("train", op.args[2] if len(op.args) > 2 else True)
    )
    return float(p), bool(training)


def _copies(call: Call) -> bool:
    """Whether the first sample of the input comes more than once in it."""
    from torch import Tensor

    first: Tensor | None = next((arg for arg in call.args if isinstance(arg, Tensor)), None)
    if (
        first is None
        or first.ndim < 1
        or not 1 < first.shape[0] <= 10_000
        or first.layout != _strided()
    ):
        return False
    rows = first.detach().reshape(first.shape[0], -1)[:, :256]
    return bool((rows[1:] == rows[0]).all(1).any())


def _strided() -> Any:
    from torch import strided

    return strided
