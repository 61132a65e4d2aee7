"""Which pictures belong to what a run's probes saw, and to each practice that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nomagic.evidence import curves, data, experiments, layers
from nomagic.probes.activations import Activations
from nomagic.probes.batches import Batches
from nomagic.probes.clamps import Clamps
from nomagic.probes.constants import ConstantInput
from nomagic.probes.descent import Descent
from nomagic.probes.evaluations import Evaluations
from nomagic.probes.flow import Flow
from nomagic.probes.gradients import Gradients
from nomagic.probes.inputs import Inputs
from nomagic.probes.losses import Losses
from nomagic.probes.lrns import Lrns
from nomagic.probes.memorised import Memorised
from nomagic.probes.mixing import Mixing
from nomagic.probes.modes import Modes
from nomagic.probes.norm_gap import NormGaps
from nomagic.probes.optimizers import Optimizers
from nomagic.probes.parameters import Parameters
from nomagic.probes.probe import Probe
from nomagic.probes.samples import Samples
from nomagic.probes.shifts import Shifts
from nomagic.probes.signals import Signals
from nomagic.probes.singles import Singles
from nomagic.probes.slopes import Slopes
from nomagic.probes.timing import Timing
from nomagic.probes.trace import Trace
from nomagic.probes.variances import Variances
from nomagic.words import Picture, Practice

Kind = type[Probe[Any]]
Pictures = dict[Kind, tuple[Picture, ...]]

DRAWN: Mapping[Kind, Callable[[Any], Iterator[Picture]]] = {
    Descent: curves.descent,
    Evaluations: curves.evaluations,
    Optimizers: curves.optimizers,
    Parameters: layers.parameters,
    Flow: layers.flow,
    Activations: layers.activations,
    Losses: curves.losses,
    Gradients: curves.gradients,
    Signals: layers.signals,
    Trace: layers.trace,
    Slopes: layers.slopes,
    Inputs: data.inputs,
    Samples: data.samples,
    Batches: data.batches,
    Timing: curves.timing,
    Memorised: experiments.memorised,
    ConstantInput: experiments.constants,
    NormGaps: experiments.norm_gaps,
    Variances: experiments.variances,
    Shifts: experiments.shifts,
    Singles: experiments.singles,
    Mixing: experiments.mixing,
    Modes: experiments.modes,
    Clamps: experiments.clamps,
    Lrns: experiments.lrns,
}
"""How what each probe saw is drawn, in the order of a report."""

ALWAYS: tuple[Kind, ...] = (Descent, Evaluations, Optimizers, Parameters, Flow, Activations)
"""Probes whose pictures stand in every report, whatever was found."""
WATCHED: tuple[Kind, ...] = (Flow,)
"""Probes that are switched on for their pictures alone."""


def pictures(probes: Iterable[Probe[Any]], trouble: Callable[[str], None]) -> Pictures:
    """What each probe saw as pictures; what cannot be drawn is told to ``trouble``."""
    known = {type(probe): probe for probe in probes}
    made: Pictures = {}
    for kind, draw in DRAWN.items():
        if kind in known:
            try:
                made[kind] = tuple(draw(known[kind]))
            except Exception as error:
                trouble(f"no picture of {kind.__name__}: {type(error).__name__}: {error}")
    return made


def charts(made: Pictures) -> tuple[Picture, ...]:
    """The pictures of a run that stand in every report."""
    return tuple(one for kind in ALWAYS for one in made.get(kind, ()))


def shown(
    practice: Practice, probes: Mapping[Kind, Probe[Any]], made: Pictures
) -> tuple[Picture, ...]:
    """The evidence of one practice: what it draws itself, else what its probes saw."""
    own = practice.show(*(probes[kind] for kind in practice.shows)) if practice.show else ()
    return tuple(own) or tuple(one for kind in practice.needs for one in made.get(kind, ()))
