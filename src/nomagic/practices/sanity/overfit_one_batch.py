"""Before training on everything, let the model learn a handful of samples by heart.

A network that cannot bring the loss on eight samples near zero will not learn from eight
million: something between input and loss is broken, and on eight samples that is found in
seconds.

Against: strong regularisation rightly prevents it, so dropout and decay are off here; models
with few weights, a bottleneck or noise inside may fail and be healthy. Passing does not prove
that all is well: random features pass, too.

Check: after the run, a copy of the model as it was before the first step learns eight samples
that lie far apart, with Adam at 1e-3 for 300 steps, up to 1,000 while the loss still falls; if
that fails, on the supervised part of the loss alone at 1e-2, and from other weights of the same
sizes. It has learnt them at 10 % of ln C (regression: 1 % of the variance): healthy small nets
took 5 to 550 steps, broken ones stayed above a quarter of ln C. Stuck for a known reason is a
fault, stuck above twice the mark a warning.
"""

from collections.abc import Iterator

from nomagic.probes.memorised import Memorised, Memory
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("002", "BYU", "C230", "KAR", "CS231")
STUCK = 2.0  # times the mark: between it and the mark a healthy model may need more steps

CAUSES = {
    "softmax": (
        "the loss applies softmax to probabilities (0 … 1, sum 1), so it cannot fall further",
        "give the loss the raw outputs, without a softmax",
    ),
    "sigmoid": (
        "the loss expects logits but its inputs lie in 0 … 1, so it cannot fall further",
        "give the loss the raw outputs, without a sigmoid",
    ),
    "sigmoid-logits": (
        "the loss applies a sigmoid to numbers that lie in 0 … 1, so it cannot fall further",
        "give the loss the raw outputs, without a sigmoid",
    ),
    "shapes": (
        "predictions and targets of different shapes are broadcast, which the mean solves best",
        "give both the same shape, for example with squeeze(1)",
    ),
    "positive": (
        "the predictions are never negative but some targets are",
        "end the model in a linear layer, without a ReLU or softplus",
    ),
    "bounded": (
        "the predictions stay within -1 … 1 but some targets lie outside",
        "end the model in a linear layer, or scale the targets",
    ),
    "dead": (
        "no gradient reaches any weight",
        "look for a detach, a no_grad, an argmax or dead units between the weights and the loss",
    ),
    "constant": (
        "every sample gets the same prediction",
        "look for zero weights, dead units or an input that is not used",
    ),
}


def check(memorised: Memorised) -> Iterator[Outcome]:
    """Models that cannot learn a handful of samples by heart."""
    yield from memorised.unanswered()
    for memory in memorised:
        if memory.learnt:
            continue
        if memory.stuck:
            yield stuck(memory)
        elif not memory.strict:
            yield NotApplicable(f"a healthy model may fail, too: {memory.why_lenient}")
        elif memory.reached > STUCK * memory.mark and not memory.falling:
            yield unknown(memory)


def stuck(memory: Memory) -> Finding:
    """The finding for a known cause."""
    reason, fix = CAUSES[memory.stuck]
    return Finding(
        message="the model cannot learn one batch by heart",
        seen=f"{progress(memory)}: {reason}",
        fix=fix,
        severity="fault",
        place=memory.place,
    )


def unknown(memory: Memory) -> Finding:
    """The finding for a model that is stuck and nobody knows why."""
    return Finding(
        message="the model cannot learn one batch by heart",
        seen=f"{progress(memory)}; tried {memory.tries} ways",
        fix="look at what lies between input and loss: the wiring of the layers, the shapes, "
        "the start of the weights",
        place=memory.place,
    )


def progress(memory: Memory) -> str:
    """How far it came."""
    return (
        f"on {memory.samples} samples the loss went from {memory.start:.3g} to "
        f"{memory.reached:.3g} in {memory.steps} steps of Adam on a copy "
        f"(learnt: below {memory.mark:.2g}; a constant gets {memory.constant:.3g})"
    )
