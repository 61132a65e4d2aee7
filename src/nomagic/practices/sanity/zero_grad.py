"""Clear the gradients between an optimizer step and the next backward.

backward() adds to the gradients that are there. Uncleared, every step goes along the sum of all
gradients since the training began: old ones, taken at weights that are long gone, drown the new.

Against: accumulation over several backwards before one step is legitimate, and so is a gradient
that one network's loss leaves in another (a generator's in its discriminator), if it is cleared
before the other network's own backward.

Check: at each step, of the optimizer that owns the parameter, whether since its last step a
backward added to gradients that were those of that step and were not cleared before this one. On
half of the steps or more it is proven (fault); on a tenth, a warning; a leftover at the end of an
epoch is less. The reverse is looked for as well: gradients that are cleared after the backward,
so that the step has nothing left to apply.
"""

from collections.abc import Iterator

from nomagic.probes.gradients import Clearing, Gradients
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("KTW",)
FEWEST = 2  # steps with old gradients; one alone could be meant
MOST = 0.5  # share of the steps from which on it is the loop, not an exception in it
SOME = 0.1  # share of the steps from which on it deserves a look
EMPTY = 0.9  # share of the looked steps with nothing to apply; less may be skipped batches


def check(gradients: Gradients) -> Iterator[Outcome]:
    """Steps that applied old gradients, and steps that had none left."""
    if not any(clearing.steps for clearing in gradients):
        yield NotApplicable("no optimizer stepped twice with gradients from backward()")
        return
    for clearing in gradients:
        if not clearing.steps:
            continue
        if clearing.emptied >= max(FEWEST, EMPTY * clearing.looked):
            yield emptied(clearing)
        elif clearing.stale >= max(FEWEST, SOME * clearing.steps) and proven(clearing):
            yield stale(clearing)


def proven(clearing: Clearing) -> bool:
    """Updates by hand count when they were seen to go along the gradient that stayed."""
    return bool(clearing.optimizer) or clearing.aligned >= FEWEST


def stale(clearing: Clearing) -> Finding:
    """The finding for gradients that pile up."""
    owner = clearing.optimizer or "the update"
    first, last = clearing.growth
    growth = f"; its norm went from {first:.3g} to {last:.3g}" if last > 2 * first else ""
    call = "optimizer.zero_grad()" if clearing.optimizer else "parameter.grad = None"
    return Finding(
        message="gradients of earlier steps are applied again",
        seen=f"at {clearing.stale} of {clearing.steps} steps of {owner} the gradient of "
        f"{clearing.parameter} still held what the step before had applied{growth}",
        fix=f"call {call} between the step and the next backward"
        if clearing.optimizer
        else f"set {call} after the update",
        severity="fault" if clearing.stale >= MOST * clearing.steps else "warning",
        place=clearing.backward,
    )


def emptied(clearing: Clearing) -> Finding:
    """The finding for gradients that are cleared too early."""
    return Finding(
        message="gradients are cleared after the backward, before the step could apply them",
        seen=f"at {clearing.emptied} of {clearing.looked} looked steps of {clearing.optimizer} the "
        "gradients that the backward had written were gone",
        fix="clear them before the backward or after the step",
        severity="fault",
        place=clearing.zeroing or clearing.backward,
    )
