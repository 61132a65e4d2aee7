"""Use dropout after wide layers against overfitting, in training only.

A layer of more than 256 units or channels has room to memorise; dropping half of them at random in
training keeps them from relying on each other. In evaluation nothing may be dropped, or every score
is noise.

Against: use it sparingly (KAR), it conflicts with batch norm; at width 2048 a rate of 0.3 beat the
usual 0.5 (49.7 % and 47.1 %, MIS17), and on a few hundred digits any dropout cost half a point.
Monte Carlo dropout keeps it on in evaluation on purpose, over many passes of the same input.

Check: `F.dropout` drops in every mode unless it is told `training=self.training`, and so does the
`dropout_p` of scaled_dot_product_attention. Dropping in a network in evaluation mode, whose
single-pass output is then held against labels, is a fault; a warning where `True` is written out.
Passes over the same input again, or over copies of a sample, are silent. Wide layers without any
dropout, and a training score above the held-out one by more than two half-widths, are a note; so is
a rate of 0.5 or more in a network that does not fit its training data.

Try: rates of 0.1, 0.2, 0.3 and 0.5 behind the unit of every hidden layer of more than 256 units (or
channels, of which whole ones are dropped), where none is yet and no batch norm comes later.
"""

from __future__ import annotations

import linecache
import math
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.dropouts import Dropout, Dropouts
from nomagic.probes.evaluations import Evaluations, Score
from nomagic.probes.modes import Mode, Modes
from nomagic.probes.trace import Node, Trace
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Place, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nomagic.parts.flow import Call, Flow

SOURCES = ("002", "BMP", "KAR", "MIS17")
PROMISE = Promise("ImageNet, width 2048: 49.7 % at 0.3, 47.1 % at 0.5", "MIS17", "helps")
RATES = (0.1, 0.2, 0.3, 0.5)

WIDE = 256  # units or channels
STRONG = 0.5
LAST = 10  # training scores at the end that are read together
ENOUGH = 100  # samples of an evaluation that can show a gap
UNFIT = 0.5  # of a constant's loss


def check(
    dropouts: Dropouts, modes: Modes, evaluations: Evaluations, trace: Trace
) -> Iterator[Outcome]:
    """Dropout in evaluation, then dropout that is missing or too strong."""
    scored = [mode for mode in modes if _scored(mode)]
    sampled = any(mode.repeated for mode in modes if not mode.training)
    noisy = [] if sampled else [row for row in dropouts if _noisy(row, scored)]
    for row in noisy:
        yield _fault(row, scored)
    if not noisy:
        yield from _advice(dropouts, evaluations, trace)


def _scored(mode: Mode) -> bool:
    if mode.training or mode.trained:
        return False
    return mode.scored > 0 or (mode.labelled and mode.held_out)


def _noisy(row: Dropout, scored: list[Mode]) -> bool:
    """Whether it dropped where a network in evaluation mode was scored, sample by sample."""
    lines = {mode.place for mode in scored}
    return any(place in lines and copies * 2 <= calls for place, calls, copies in row.evaluating)


def _fault(row: Dropout, scored: list[Mode]) -> Finding:
    lines = {mode.place for mode in scored}
    place, calls, _ = next(one for one in row.evaluating if one[0] in lines)
    attention = row.name == "scaled_dot_product_attention"
    training = "self.p if self.training else 0.0" if attention else "self.training"
    return Finding(
        message="functional dropout stays on in evaluation: every score is noise",
        seen=f"{row.name}(p={row.p:g}) dropped in {calls} of the evaluation calls in line "
        f"{place.line if place else '?'} "
        "that were looked at, with the network in eval mode",
        fix=f"pass {'dropout_p' if attention else 'training'}={training}, or use nn.Dropout",
        severity="warning" if _deliberate(row.place) else "fault",
        place=row.place,
    )


def _deliberate(place: Place | None) -> bool:
    return place is not None and "True" in linecache.getline(
        os.path.abspath(place.file), place.line
    )


def _advice(dropouts: Dropouts, evaluations: Evaluations, trace: Trace) -> Iterator[Outcome]:
    train = [score for score in evaluations if not score.evaluation][-LAST:]
    held = next(
        (s for s in reversed(evaluations.rows) if s.evaluation and s.counted >= ENOUGH), None
    )
    wide = next(
        (node for graph in trace for node in graph.nodes if _wide(node) and graph.hidden(node)),
        None,
    )
    strong = next((row for row in dropouts if row.p >= STRONG and row.own), None)
    gap, noise = _gap(train, held) if train and held is not None else (0.0, math.inf)
    if wide is not None and not len(dropouts) and gap > 2 * noise:
        yield Finding(
            message="wide layers without dropout, in a network that overfits",
            seen=f"{wide.layer} has {_features(wide)} features; held-out accuracy is "
            f"{gap:.1%} below that in training "
            f"(± {noise:.1%})",
            fix="try nn.Dropout(0.3) after the widest layers",
            severity="note",
            place=wide.anchor,
        )
    elif strong is not None and _unfit(train):
        loss = sum(score.loss for score in train) / len(train)
        yield Finding(
            message="strong dropout in a network that does not fit its training data",
            seen=f"p={strong.p:g}; the training loss ends at {loss:.3g}, a constant gets "
            f"{train[-1].baseline:.3g}",
            fix="lower the rate, or leave dropout out until the network overfits",
            severity="note",
            place=strong.place,
        )


def _wide(node: Node) -> bool:
    return node.weighted and node.name.startswith(("linear", "conv")) and _features(node) > WIDE


def _features(node: Node) -> int:
    channels = 1 if node.name.startswith("conv") else -1
    return node.shape[channels] if len(node.shape) > 1 else 0


def _gap(train: list[Score], held: Score) -> tuple[float, float]:
    """How far held-out accuracy lies below that in training, and the half-width of that."""
    seen = sum(score.counted for score in train)
    if not seen:
        return 0.0, math.inf
    a, b = sum(score.correct for score in train) / seen, held.accuracy
    variance = (
        max(a * (1 - a), 0.25 / seen) / seen + max(b * (1 - b), 0.25 / held.counted) / held.counted
    )
    return a - b, 1.96 * math.sqrt(variance)


def _unfit(train: list[Score]) -> bool:
    losses = [score.loss for score in train if not math.isnan(score.loss)]
    constants = [score.baseline for score in train if not math.isnan(score.baseline)]
    if len(losses) < LAST or not constants:
        return False
    return sum(losses) / len(losses) > UNFIT * sum(constants) / len(constants)


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Dropout behind wide layers, at four rates."""
    from nomagic.parts.rehearsal import arms

    edits = [
        (
            Edit(f"dropout-{p}", partial(drop, p=p)),
            f"dropout of {p} behind layers wider than {WIDE}",
        )
        for p in RATES
    ]
    yield from arms(setup, glimpse, edits)


def drop(model: nn.Module, sample: Tensor, p: float) -> nn.Module:
    """Put dropout behind the units of wide layers."""
    from nomagic.parts.flow import UNITS, observe
    from nomagic.parts.surgery import SurgeryError, behind, lift

    model = lift(model, sample, UNITS.keys(), lambda flow: [end for _, end in _rows(flow)], True)
    rows = _rows(observe(model, sample))
    if not rows:
        wide = any(_width(call) > WIDE for call in observe(model, sample).layers())
        taken = "dropout stands behind wide layers already, or batch norm comes later"
        raise SurgeryError(taken if wide else f"no hidden layer is wider than {WIDE}")
    return behind(model, {end.module: _dropout(wide, p) for wide, end in rows if end.module})


def _rows(flow: Flow) -> list[tuple[Call, Call]]:
    """Each wide layer with the unit behind it, where dropout can stand."""
    rows = [(call, flow.last(call)) for call in flow.layers() if _width(call) > WIDE]
    return [(wide, end) for wide, end in rows if end.role == "unit" and not _taken(flow, end)]


def _taken(flow: Flow, end: Call) -> bool:
    """Whether there is dropout before the next layer, or a batch norm later."""
    from nomagic.parts.surgery import BATCH_NORMS

    dropped = any(one.role == "dropout" for one in flow.below(end, "layer"))
    return dropped or any(isinstance(one.module, BATCH_NORMS) for one in flow.below(end))


def _width(call: Call) -> int:
    """The units or channels of a layer."""
    return getattr(call.module, "out_channels", 0) or getattr(call.module, "out_features", 0)


def _dropout(wide: Call, p: float) -> nn.Module:
    from torch import nn

    kinds = {nn.Conv1d: nn.Dropout1d, nn.Conv2d: nn.Dropout2d, nn.Conv3d: nn.Dropout3d}
    spatial = (kinds[kind] for kind in kinds if isinstance(wide.module, kind))
    return next(spatial, nn.Dropout)(p)
