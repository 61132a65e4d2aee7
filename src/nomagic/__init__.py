"""Say what is wrong with a training run, which tricks pay, and train by the recipe.

From the shell: ``nomagic check train.py``, ``nomagic try digits``, ``nomagic fit digits``. In a
notebook or a test::

    import nomagic as nm

    with nm.check() as watched:
        train(...)
    watched.findings

    setup = nm.Setup(data=(x, y), model=lambda form: MyNet(form.channels, form.classes))
    trial = nm.try_(setup, ["prelu", "batch-norm"], budget="10m")
    trial.verdicts

    model = nm.fit(setup, recipe=trial.recipe, budget="10m", out="model")
    mean, spread = model.predict(x)
    nm.load("model", setup).predict(x)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nomagic.words import Shown

if TYPE_CHECKING:
    from nomagic import catalog
    from nomagic.checking import check
    from nomagic.datasets import data
    from nomagic.fitting.estimator import NoMagicClassifier, NoMagicRegressor
    from nomagic.fitting.run import fit
    from nomagic.fitting.saved import load
    from nomagic.looking.run import look
    from nomagic.trial.run import try_
    from nomagic.words import BlockRates, Setup

__version__ = "0.1.0"
__all__ = [
    "BlockRates",
    "NoMagicClassifier",
    "NoMagicRegressor",
    "Setup",
    "__version__",
    "catalog",
    "check",
    "data",
    "explain",
    "fit",
    "load",
    "look",
    "try_",
]

LAZY = {
    "BlockRates": "nomagic.words",
    "NoMagicClassifier": "nomagic.fitting.estimator",
    "NoMagicRegressor": "nomagic.fitting.estimator",
    "Setup": "nomagic.words",
    "check": "nomagic.checking",
    "data": "nomagic.datasets",
    "fit": "nomagic.fitting.run",
    "load": "nomagic.fitting.saved",
    "look": "nomagic.looking.run",
    "try_": "nomagic.trial.run",
}
"""Where the public names are defined that are imported on first use."""


def explain(practice: str) -> str:
    """Return what `nomagic explain` prints: claim, reason, what is watched, sources."""
    from nomagic import catalog
    from nomagic.report import advice

    return advice.text(catalog.find(practice))


def _display(value: Shown) -> dict[str, str]:
    """What a notebook shows of a result."""
    from nomagic import catalog
    from nomagic.report import notebook

    return notebook.displayed(value, catalog.load(), __version__)


Shown.display = _display


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import nomagic`` costs nothing and patches nothing."""
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    if name == "catalog":
        return importlib.import_module("nomagic.catalog")
    raise AttributeError(f"module 'nomagic' has no attribute {name!r}")
