"""Run a training script unmodified, and say what is wrong with it.

From the shell: ``nomagic check train.py``. In a notebook or a test::

    import nomagic as nm

    with nm.check() as watched:
        train(...)
    watched.findings
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nomagic import catalog
    from nomagic.checking import check

__version__ = "0.1.0"
__all__ = ["__version__", "catalog", "check", "explain"]


def explain(practice: str) -> str:
    """Return what `nomagic explain` prints: claim, reason, what is watched, sources."""
    from nomagic import catalog
    from nomagic.report import advice

    return advice.text(catalog.find(practice))


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import nomagic`` costs nothing and patches nothing."""
    if name == "check":
        return importlib.import_module("nomagic.checking").check
    if name == "catalog":
        return importlib.import_module("nomagic.catalog")
    raise AttributeError(f"module 'nomagic' has no attribute {name!r}")
