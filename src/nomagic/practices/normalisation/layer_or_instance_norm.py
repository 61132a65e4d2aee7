"""Layer and instance norm behave alike in training and inference, and often do as well.

They normalise each sample by itself, so that nothing hangs on who else is in the batch.

Against: they are no drop-in everywhere. Instance norm right before global average pooling failed on
digits (69-98 %, the loss stuck): pooling reads only what normalising has removed.

Try: in place of each batch norm, or behind each hidden layer of a network without norms, a layer
norm (one group over all channels of a map) or an instance norm; where there are no norms, also a
group norm. Instance norm is left out on maps
of four numbers or fewer and before global average pooling.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Edit, NotApplicable, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCES = ("000", "001", "LN16", "IN16", "TP")
PROMISE = Promise("layer norm can often replace batch norm", "TP", "no difference")


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Layer norm and instance norm, for batch norm or for none."""
    from nomagic.parts.flow import observe
    from nomagic.parts.rehearsal import arms
    from nomagic.parts.surgery import BATCH_NORMS

    norms = [call for call in observe(glimpse.model, glimpse.sample).calls if call.role == "norm"]
    batch = [norm for norm in norms if isinstance(norm.module, BATCH_NORMS)]
    if norms and not batch:
        yield NotApplicable("the norms are of another kind than batch norm: it is followed already")
        return
    where = "in place of batch norm" if batch else "behind each hidden layer, without a bias"
    edits = [
        (Edit(f"{kind}-norm", partial(normalise, kind=kind)), f"{kind} norm {where}")
        for kind in (("layer", "instance") if batch else ("layer", "group", "instance"))
    ]
    yield from arms(setup, glimpse, edits)


def normalise(model: nn.Module, sample: Tensor, kind: str) -> nn.Module:
    """Norms of this kind in place of batch norms; where there are none, behind hidden layers."""
    from nomagic.parts.flow import observe
    from nomagic.parts.surgery import insert_norms, norm, swap_norms

    normed = any(call.role == "norm" for call in observe(model, sample).calls)
    change = swap_norms if normed else insert_norms
    return change(model, sample, partial(norm, kind))
