"""Say what is wrong with a training run, and which tricks pay on one's own model and data.

From the shell: ``nomagic check train.py`` and ``nomagic try digits``. In a notebook or a test::

    import nomagic as nm

    with nm.check() as watched:
        train(...)
    watched.findings

    setup = nm.Setup(data=(x, y), model=lambda form: MyNet(form.channels, form.classes))
    trial = nm.try_(setup, ["prelu", "batch-norm"], budget="10m")
    trial.verdicts
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nomagic import catalog
    from nomagic.checking import check
    from nomagic.datasets import data
    from nomagic.trial.run import try_
    from nomagic.words import Setup

__version__ = "0.1.0"
__all__ = ["Setup", "__version__", "catalog", "check", "data", "explain", "try_"]

LAZY = {
    "Setup": "nomagic.words",
    "check": "nomagic.checking",
    "data": "nomagic.datasets",
    "try_": "nomagic.trial.run",
}
"""Where the public names are defined that are imported on first use."""


def explain(practice: str) -> str:
    """Return what `nomagic explain` prints: claim, reason, what is watched, sources."""
    from nomagic import catalog
    from nomagic.report import advice

    return advice.text(catalog.find(practice))


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import nomagic`` costs nothing and patches nothing."""
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    if name == "catalog":
        return importlib.import_module("nomagic.catalog")
    raise AttributeError(f"module 'nomagic' has no attribute {name!r}")
