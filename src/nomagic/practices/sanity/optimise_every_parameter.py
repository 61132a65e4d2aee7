"""Hand every trainable parameter to the optimizer, and see that it gets a gradient and moves.

A layer that was made after the optimizer, kept in a plain list, or cut off by detach() stays at
its random start. The rest learns around it, so the loss still falls and nothing else tells.

Against: frozen layers are legitimate: requires_grad=False, a rate of 0, or an optimizer for the
head alone. Teachers, loss networks and target networks are in no optimizer on purpose, and a
layer whose output nobody uses gets no gradient.

Check: faults are a parameter that takes gradients, never moves and is in no optimizer while
others of the same module are in one; layers at PyTorch's random start that no module lists (a
plain list instead of nn.ModuleList) and that take gradients in vain; an optimizer that holds
parameters nobody uses while those of the model are in none; a parameter that moved in none of 10
looked steps, with a gradient and a rate above 0. Layers at their random start in or before the
trained network that take gradients and are in no optimizer, or are in one but stand behind a
detach(), are a warning. The rest that never gets a gradient is a note.
"""

from collections.abc import Iterable, Iterator, Sequence

from nomagic.probes.optimizers import Optimized, Optimizers
from nomagic.probes.parameters import Parameters, Weight
from nomagic.probes.trace import Graph, Trace
from nomagic.words import Finding, NotApplicable, Outcome, Place

SOURCES = ("KAR",)
BACKWARDS = 3  # looked backwards before we speak of a gradient that never comes
STEPS = 10  # looked steps without any movement
NAMES = 4  # names said


def check(parameters: Parameters, optimizers: Optimizers, trace: Trace) -> Iterator[Outcome]:
    """Parameters without an owner, without a gradient, without movement."""
    stepped = {one.number for one in optimizers if one.steps}
    owned = [weight for weight in parameters if stepped & set(weight.optimizers)]
    if not owned:
        yield NotApplicable("no torch optimizer stepped, so there is nothing to be left out of")
        return
    idle = [weight for weight in parameters if stays(weight)]
    lost = list(elsewhere(parameters.rows, optimizers, idle))
    yield from lost
    if not lost:
        place = next((one.place for one in optimizers if one.steps and one.place), None)
        yield from left_out(idle, owned, place, trace)
    yield from motionless(owned)
    if not parameters.by_grad:
        yield from cut_off(owned, trace)


def stays(weight: Weight) -> bool:
    """Whether it takes gradients, is in no optimizer, and never moved."""
    return (
        weight.trainable
        and not weight.optimizers
        and not weight.moved
        and weight.backwards >= BACKWARDS
        and weight.gradients > 0
    )


# -- an optimizer for other parameters -----------------------------------------------------


def elsewhere(
    weights: Sequence[Weight], optimizers: Iterable[Optimized], idle: Sequence[Weight]
) -> Iterator[Finding]:
    """Optimizers with parameters that no backward ever reaches, while it reaches others in vain."""
    for one in optimizers:
        own = [weight for weight in weights if one.number in weight.optimizers]
        unused = [weight for weight in own if dry(weight, one.began)]
        orphans = [weight for weight in unused if not weight.registered]
        if idle and one.steps >= BACKWARDS and (orphans or (own and unused == own)):
            yield Finding(
                message=f"{one.kind} holds parameters nobody uses, while the model's are in none",
                seen=f"{len(unused)} of its {len(own)} parameters have had no "
                f"gradient since its first step; {listed(idle)} had, and never moved",
                fix="make the optimizer after the model is complete: copied, its head replaced",
                severity="fault",
                place=one.place,
            )


def dry(weight: Weight, since: int = 0) -> bool:
    """Whether no backward gave it a gradient since then, often enough to say so."""
    return weight.backwards >= BACKWARDS and weight.last < since


# -- in no optimizer -----------------------------------------------------------------------


def left_out(
    idle: Sequence[Weight], owned: Sequence[Weight], place: Place | None, trace: Iterable[Graph]
) -> Iterator[Finding]:
    """Parameters that take gradients in vain."""
    owners = {weight.module for weight in owned if weight.registered and weight.module}
    listed_ones = [weight for weight in idle if weight.registered]
    siblings = [weight for weight in listed_ones if weight.module in owners]
    rest = [weight for weight in listed_ones if weight not in siblings]
    hidden = [weight for weight in idle if not weight.registered and weight.kind]
    if siblings:
        yield torn(siblings, place)
    if hidden:
        yield unlisted(hidden)
    elif rest:
        yield forgotten(rest, place, inside(rest, owned, trace))


def torn(siblings: Sequence[Weight], place: Place | None) -> Finding:
    """The finding for layers of which a part is trained."""
    return Finding(
        message="parameters of a trained layer are in no optimizer",
        seen=f"{listed(siblings)} took a gradient in {siblings[0].gradients} looked backwards and "
        "never moved; the rest of the layer is trained",
        fix="pass model.parameters() to the optimizer, or set requires_grad=False",
        severity="fault",
        place=place,
    )


def unlisted(hidden: Sequence[Weight]) -> Finding:
    """The finding for layers that no module lists; a pre-trained loss network may be hidden so."""
    known = [weight.fresh for weight in hidden if weight.fresh is not None]
    return Finding(
        message="layers are used that no module lists, so no optimizer has them",
        seen=f"{listed(hidden)} took a gradient in {hidden[0].gradients} looked backwards, are not "
        "in model.parameters(), and never moved",
        fix="keep layers in nn.ModuleList or nn.ModuleDict, or as attributes of the module",
        severity="fault" if any(known) else "note" if known else "warning",
        place=next((weight.built for weight in hidden if weight.built), None),
    )


def inside(rest: Sequence[Weight], owned: Sequence[Weight], trace: Iterable[Graph]) -> bool:
    """Whether they belong to the network that is trained, or feed it; a loss network does not."""
    roots = {weight.root for weight in owned if weight.registered}
    if any(weight.root in roots for weight in rest):
        return True
    trained = {weight.name for weight in owned}
    names = {weight.name for weight in rest}
    return any(
        names & {name for above in graph.above(node) for name in above.parameters}
        for graph in trace
        for node in graph.nodes
        if trained & set(node.parameters)
    )


def forgotten(rest: Sequence[Weight], place: Place | None, within: bool) -> Finding:
    """The finding for whole layers that were not handed over: a note if that can be meant."""
    random = any(weight.fresh for weight in rest)
    return Finding(
        message="layers take gradients but are in no optimizer",
        seen=f"{listed(rest)} took a gradient in {rest[0].gradients} looked backwards, never moved"
        + ("; they are still at their random start" if random else ""),
        fix="hand their parameters to the optimizer, or requires_grad_(False) if they are to stay",
        severity="warning" if random and within else "note",
        place=place,
    )


# -- no movement, no gradient --------------------------------------------------------------


def motionless(owned: Iterable[Weight]) -> Iterator[Finding]:
    """Parameters that a step with a gradient and a rate does not move."""
    still = [weight for weight in owned if unmoved(weight)]
    if still:
        looks = still[0].looks
        yield Finding(
            message="parameters do not move though they have a gradient",
            seen=f"{listed(still)} stayed the same bit by bit in all of {len(looks)} looked steps, "
            f"at a rate of {looks[-1].rate:.3g} and with a gradient of {looks[-1].gradient:.3g}",
            fix="look for a rate too small for the precision of the weights, or for something that "
            "puts them back",
            severity="fault",
            place=still[0].built,
        )


def unmoved(weight: Weight) -> bool:
    """Whether every looked step had a gradient and a rate, and none had an effect."""
    active = [look for look in weight.looks if look.rate > 0 and look.gradient > 0]
    return len(active) >= STEPS and not any(look.update > 0 for look in weight.looks)


def cut_off(owned: Iterable[Weight], trace: Trace) -> Iterator[Finding]:
    """Parameters that are in an optimizer and never get a gradient."""
    without = [w for w in owned if dry(w) and w.trainable and w.registered and not w.moved]
    if not without:
        return
    names = {weight.name for weight in without}
    for graph in trace:
        cut = next((found for found in cuts(graph, names)), None)
        behind = [weight for weight in without if cut and weight.name in cut[1]]
        if cut and any(weight.fresh for weight in behind):
            yield Finding(
                message="layers before a detach() stay at their random start",
                seen=f"{listed(behind)} led to the loss, but no gradient came back in "
                f"{behind[0].backwards} looked backwards",
                fix="let the gradient through, or train these layers by a loss of their own",
                place=cut[0],
            )
            return
    yield Finding(
        message="parameters in the optimizer never got a gradient",
        seen=f"{listed(without)}: none in {without[0].backwards} looked backwards",
        fix="use the layers, or leave them out",
        severity="note",
        place=without[0].built,
    )


def cuts(graph: Graph, names: set[str]) -> Iterator[tuple[Place | None, set[str]]]:
    """Each detach with those of the named parameters that stand only behind it."""
    for node in graph.nodes:
        if node.name in ("detach", "data", "detach_"):
            behind = {name for above in graph.above(node) for name in above.parameters}
            if behind & names:
                yield node.place, behind & names


def listed(weights: Sequence[Weight]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(weights) - NAMES} more" if len(weights) > NAMES else ""
    return ", ".join(weight.name for weight in weights[:NAMES]) + more
