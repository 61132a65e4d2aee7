"""Find bottlenecks of the input pipeline before blaming the model.

While the network waits for its next batch, the dearest part of the machine is idle; decoding and
transforms can run in workers beside it, or once for all epochs.

Against: a small network on small data waits for its loader whatever one does, and loses nothing
worth a line of code.

Check: the median over training steps of the time in which the loader was waited for. A warning
where it is 20 % of the step on an accelerator (40 % on the CPU, where workers compete with the
network), at least 10 ms, and one second over the run; data that lies in memory and loaders that
have workers on the CPU give a note. Loaders of tensors in memory take 0.16 ms for 64 rows and
2.6 ms for 1,024 (medians of 75 batches, one core), so small programs stay below the 10 ms.
"""

from collections.abc import Iterator

from nomagic.probes.loaders import Loader, Loaders
from nomagic.probes.timing import Timing, Wait
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("TP",)
SHARE = 0.2  # of a step on an accelerator
SHARE_CPU = 0.4
WAIT = 0.010  # seconds a step: below, the loader is not worth the trouble
TOTAL = 1.0  # seconds over the run
TICKS = 15


def check(timing: Timing, loaders: Loaders) -> Iterator[Outcome]:
    """Training loaders that keep the network waiting."""
    if not any(loader.training for loader in loaders):
        yield NotApplicable("no DataLoader fed the training")
        return
    judged = [wait for wait in timing if wait.ticks >= TICKS]
    if not judged:
        yield NotApplicable(f"fewer than {TICKS} training steps were seen")
        return
    for wait in judged:
        loader = loaders[wait.loader]
        if loader.training and slow(wait):
            yield finding(wait, loader)


def slow(wait: Wait) -> bool:
    """Whether the waiting is worth a word."""
    share = SHARE if wait.device != "cpu" else SHARE_CPU
    return wait.share >= share and wait.typical >= WAIT and wait.total >= TOTAL


def finding(wait: Wait, loader: Loader) -> Finding:
    """One finding about a loader that is waited for."""
    helpless = loader.in_memory or (wait.device == "cpu" and loader.workers > 0)
    workers = f"{loader.workers} workers" if loader.workers else "no workers"
    return Finding(
        message="training waits for its data",
        seen=f"{wait.share:.0%} of a step ({1000 * wait.typical:.0f} of {1000 * wait.step:.0f} ms) "
        f"is waiting for the loader, {wait.total:.1f} s in all, with {workers}",
        fix="index the tensors yourself, a whole batch at once"
        if loader.in_memory
        else "give the loader num_workers, or decode once and keep the result",
        severity="note" if helpless else "warning",
        place=loader.place,
    )
