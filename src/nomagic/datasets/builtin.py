"""Built-in sets by name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nomagic.config import nearest
from nomagic.datasets import bundled
from nomagic.datasets.samples import Data, DataError

NAMES = (*bundled.LOADERS,)
"""All built-in sets."""


def data(name: str, folder: str | Path | None = None) -> Data:  # noqa: ARG001
    """A built-in set.

    Raises:
        DataError: there is none of this name, or its files are not found.
    """
    if name in bundled.LOADERS:
        return _bundled(name)
    raise DataError(
        f"there is no built-in data set {name!r}{nearest(name, NAMES)}; "
        f"there are {', '.join(NAMES)}"
    )


@lru_cache
def _bundled(name: str) -> Data:
    return bundled.LOADERS[name]()
