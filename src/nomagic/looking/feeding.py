"""From what a user named to what is looked at: some rows, in parts, as the network gets them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nomagic.engine.plan import FITTED
from nomagic.looking.subject import Given, LookError, Subject, chosen


def subject(given: Given, samples: int | None, seed: int) -> Subject:
    """The samples that are looked at, after the input steps of the setup.

    Raises:
        LookError: a step of the user's own fails.
    """
    data = given.data
    part = torch.full((len(data),), -1 if given.parts else 0)
    for code, rows in enumerate(given.parts.values()):
        part[rows] = code
    used = (part >= 0).nonzero().flatten()
    places = used[chosen(len(used), data.form.features, samples, seed)]
    x, y = data.batch(places)
    fed = _fed(given, x)
    floats = fed.is_floating_point()
    tokens = 0 if floats else data.form.tokens
    return Subject(
        given=given,
        form=replace(data.form, shape=tuple(fed.shape[1:]), tokens=tokens),
        x=x,
        fed=fed,
        y=y if given.labelled else None,
        rows=places if given.rows is None else given.rows[places],
        part=part[places],
        parts=tuple(given.parts) or ("all",),
        places=places,
        seed=seed,
    )


def _fed(given: Given, x: Tensor) -> Tensor:
    """Inputs after the setup's steps, which are fitted on its training part as in a training."""
    steps = given.setup.inputs if given.setup else ()
    if not steps:
        return x
    rows = given.parts.get("training", torch.arange(len(given.data)))
    train = given.data.batch(rows[:FITTED])[0]
    for step in steps:
        try:
            values = tuple(step.fit(train))
            train, x = step.use(train, *values), step.use(x, *values)
        except Exception as error:
            raise LookError(
                f"the input step {step.name!r} fails: {type(error).__name__}: {error}"
            ) from error
    return x
