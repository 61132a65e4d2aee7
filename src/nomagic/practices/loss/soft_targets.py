"""Do not chase asymptotes: targets inside the output's range keep confidence meaningful.

A softmax reaches 1 only with endless logits; a target of 0.9 can be met, and then the network
rests.

Against: the original advice is about sigmoids and squared errors (LEC98); label smoothing is its
descendant for the softmax. It can hurt distillation and the ranking of confident answers.

Try: label smoothing of 0.05 and 0.1, where the targets are classes and the loss is cross entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.words import Arm, Form, NotApplicable, Promise, Setup

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = ("LEC98", "TP")
PROMISE = Promise("label smoothing regularises classifiers", "TP", "helps")
AMOUNTS = (0.05, 0.1)


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Label smoothing."""
    if glimpse.form.task not in ("classification", "sequence"):
        yield NotApplicable(f"smoothing is for classes; the task is {glimpse.form.task}")
    elif setup.smoothing:
        yield NotApplicable(f"targets are smoothed by {setup.smoothing:g}: it is followed already")
    elif getattr(setup.loss, "label_smoothing", 0.0):
        yield NotApplicable("the loss smooths its targets: it is followed already")
    elif setup.loss is not None and not _is_cross_entropy(setup.loss, glimpse.form):
        yield NotApplicable("the loss is not the cross entropy of classes")
    else:
        for amount in AMOUNTS:
            arm = replace(setup, smoothing=amount)
            yield Arm(f"soft-targets-{amount:g}", arm, f"label smoothing of {amount:g}")


def _is_cross_entropy(loss: Callable[[Tensor, Tensor], Tensor], form: Form) -> bool:
    """Whether a loss has the cross entropy's value for some numbers."""
    import torch
    import torch.nn.functional as F

    length = (5,) if form.task == "sequence" else ()
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(8, *length, form.outputs, generator=random)
    classes = torch.randint(form.outputs, (8, *length), generator=random)
    expected = F.cross_entropy(logits.flatten(0, -2), classes.flatten())
    return bool(torch.isclose(loss(logits, classes), expected, rtol=1e-4))
