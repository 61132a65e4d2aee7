"""Random transforms must not repeat across loader workers, nor begin again identically each epoch.

Each worker process gets a copy of the dataset. A random generator that is stored on it is copied
with its state: all workers draw the same "random" crops and noise, and with new workers each epoch
draws them again.

Against: PyTorch seeds torch, random and NumPy's global generator anew in each worker, so the
classic bug of equal np.random draws is gone; only generators of one's own are left.

Check: numpy Generators and RandomStates, random.Random and torch.Generator that live on the
dataset, its transforms or the module, are used by the code that fetches a sample, and go through a
loader with workers and without worker_init_fn: a warning. Code that asks get_worker_info, and
generators that only the constructor uses, are left alone.
"""

from collections.abc import Iterator

from nomagic.probes.loaders import Loader, Loaders
from nomagic.words import Finding, NotApplicable, Outcome

SOURCES = ("KAR", "TP")


def check(loaders: Loaders) -> Iterator[Outcome]:
    """Loaders whose workers draw from copies of one generator."""
    working = [loader for loader in loaders if loader.workers and loader.batches]
    if not working:
        yield NotApplicable("no loader has workers")
        return
    for loader in working:
        if loader.stored and not loader.init_fn and repeats(loader):
            yield finding(loader)


def repeats(loader: Loader) -> bool:
    """Whether two copies of the generator are drawn from: in two workers, or in two epochs."""
    return loader.workers > 1 or loader.passes > 1


def finding(loader: Loader) -> Finding:
    """One finding about a loader."""
    names = ", ".join(loader.stored)
    return Finding(
        message="loader workers draw from copies of the same random generator",
        seen=f"{names} is copied to {loader.workers} workers, anew in each of {loader.passes} "
        "epochs, and no worker_init_fn sets it apart",
        fix="draw from torch or numpy.random in __getitem__, "
        "or seed the generator in worker_init_fn from torch.initial_seed()",
        place=loader.place,
    )
