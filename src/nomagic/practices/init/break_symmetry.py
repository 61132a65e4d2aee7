"""Never start units identical: all-zero or constant weights keep them identical.

Units of one layer that begin with the same weights get the same gradient and stay copies of each
other: a wide layer works like a single unit. If two layers are all zero, not even that moves.

Against: an output layer may start at zero, since its targets differ, and so may the last layer of
a residual branch. Dropout tells copies apart. Embeddings of unseen words stay alike by nature.

Check: rows of a weight matrix that were bitwise equal when first seen are compared again after 20
steps. If they have moved and still differ by less than a thousandth of their way, they are
copies: a fault from 1 % of the pairs on. So are two or more matrices that are zero, with a
gradient of exactly zero. If equal weights, not zero, differ by less than 0.6 of their way
(measured: 0.2 to 0.5 where only random biases part constant weights, 0.9 to 1.3 where dropout,
the position or a zero start of a residual branch does), a warning. Output layers, embeddings and
weights that stay are left out.
"""

from collections.abc import Iterator, Sequence

from nomagic.probes.parameters import SETTLED, Parameters, Twins, Weight
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome

SOURCES = ("CS231", "LEC98")
PAIRS = 0.01  # share of the pairs of rows that are copies
ZEROS = 2  # one matrix of zeros can move; two in a row hold each other down
PARTED = 0.6  # of their way: equal rows that differ by less hardly part
HALF = 0.5  # share of the rows that must have started equal for that
STEPS = 5  # steps that a short run must have for the copies to have had a chance to part

RANDOM = "draw the weights at random: leave PyTorch's own start, or nn.init.kaiming_normal_"


def check(parameters: Parameters) -> Iterator[Outcome]:
    """Layers whose units stay copies of each other."""
    hidden = [w for w in parameters if len(w.shape) > 1 and not w.output and not w.embedding]
    if not hidden:
        yield NotApplicable("the network has no hidden weight matrix")
        return
    suspects = [weight for weight in hidden if weight.twins is not None]
    late = [w for w in suspects if w.twins is not None and w.twins.step < STEPS and w.gradients]
    if late:
        yield CouldNotLook(f"the run took fewer than {STEPS + 1} steps")
    for weight in suspects:
        if weight.twins is not None and copied(weight.twins):
            yield twins(weight, weight.twins)
        elif weight.twins is not None and alike(weight.twins):
            yield siblings(weight, weight.twins)
    dead = [weight for weight in suspects if stuck(weight)]
    if len(dead) >= ZEROS:
        yield zeros(dead)


def copied(found: Twins) -> bool:
    """Whether enough rows moved together; n copies of one row are n (n + 1) / 2 pairs."""
    pairs = found.end * (found.end + 1) / 2
    return found.step >= STEPS and pairs > PAIRS * found.rows * (found.rows - 1) / 2


def alike(found: Twins) -> bool:
    """Whether rows that started equal, and not at zero, hardly part."""
    return (
        not found.blank
        and found.step >= SETTLED
        and found.start > HALF * found.rows
        and found.gap < PARTED
    )


def stuck(weight: Weight) -> bool:
    """Whether a matrix of zeros got nothing but zeros for a gradient."""
    zero = weight.twins is not None and weight.twins.zero and weight.twins.step >= STEPS
    return zero and weight.trainable and weight.zeros > STEPS and not weight.gradients


def twins(weight: Weight, found: Twins) -> Finding:
    """The finding for units that learn as one."""
    return Finding(
        message=f"units of {weight.module or weight.name} are copies of each other and stay so",
        seen=f"{found.start + 1} of {found.rows} rows of {weight.name} started equal; after "
        f"{found.step} steps {found.end + 1} of them have moved and are still equal",
        fix=RANDOM,
        severity="fault" if found.step >= SETTLED else "warning",
        place=weight.filled or weight.built,
    )


def siblings(weight: Weight, found: Twins) -> Finding:
    """The finding for units that part slowly."""
    return Finding(
        message=f"units of {weight.module or weight.name} start with equal weights and hardly part",
        seen=f"{found.start + 1} of {found.rows} rows of {weight.name} started equal; after "
        f"{found.step} steps they differ by {found.gap:.2f} of the way they went",
        fix=RANDOM,
        place=weight.filled or weight.built,
    )


def zeros(dead: Sequence[Weight]) -> Finding:
    """The finding for layers of zeros."""
    names = ", ".join(weight.name for weight in dead[:4])
    return Finding(
        message="layers start at zero and hold each other there",
        seen=f"{names}: every weight is zero, and so was every gradient in {dead[0].zeros} looked "
        "backwards",
        fix=RANDOM,
        severity="fault",
        place=dead[0].filled or dead[0].built,
    )
