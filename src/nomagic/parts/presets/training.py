"""How the networks of `nomagic.parts.presets` are trained when nothing else is known."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from nomagic.parts.presets.kinds import Kind, kind
from nomagic.parts.scaling import by_rank, mean_and_deviation, ranks, standardise
from nomagic.words import Form, InputStep

RATES: dict[Kind, float] = {
    "image": 1e-2,
    "waveform": 5e-3,
    "series": 3e-3,
    "tokens": 1e-2,
    "table": 5e-3,
    "other": 3e-3,
}
"""The highest learning rate of AdamW."""
STEPS = 2_000
"""Optimizer steps of a training."""
STANDARDISED = InputStep("standardise-input", mean_and_deviation, standardise)
RANKED = InputStep("standardise-by-rank", ranks, by_rank)
LONG_TABLE = 5_000
"""Samples from which the columns of a table are scaled by rank: skewed ones gain (lab/log.md)."""


def defaults(form: Form, samples: int) -> dict[str, Any]:
    """Fields of a `nomagic.words.Setup` for so many training samples.

    AdamW and a single cycle of its learning rate; about `STEPS` steps on batches of 32 to 256, of
    32 texts, in 3 to 60 epochs. Numbers are standardised, those of long tables by rank, but for
    waveforms and series; the gradients of texts are clipped.
    """
    what = kind(form)
    size = next((size for size, most in BATCHES if samples <= most), LARGEST)
    size = min(size, TEXTS) if what == "tokens" else size
    return {
        "optimizer": partial(AdamW, lr=RATES[what], weight_decay=0.05),
        "schedule": one_cycle,
        "clip": 1.0 if what == "tokens" else None,
        "batch_size": size,
        "epochs": min(60, max(3, round(STEPS * size / samples))),
        "inputs": _inputs(what, samples),
    }


def _inputs(what: Kind, samples: int) -> tuple[InputStep, ...]:
    if what in ("tokens", "waveform", "series"):
        return ()
    return (RANKED if what == "table" and samples >= LONG_TABLE else STANDARDISED,)


BATCHES = ((32, 3_000), (64, 10_000), (128, 50_000))
"""Sizes of batches, and the samples up to which they are used."""
LARGEST = 256
TEXTS = 32
"""Texts of a batch: each has many tokens to predict."""


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """A quarter of the steps up to the optimizer's rates, the others down to none (Smith 2018)."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(
        optimizer, rates, total_steps=max(5, steps), pct_start=0.25, cycle_momentum=False
    )
