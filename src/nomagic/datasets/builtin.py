"""Built-in sets by name: from scikit-learn, from a folder of files, or through a library."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from nomagic.config import nearest
from nomagic.datasets import bundled, folder, libraries
from nomagic.datasets.samples import Data, DataError

NAMES = (*bundled.LOADERS, *folder.LOADERS)
"""All built-in sets."""


def data(name: str, folder: str | Path | None = None) -> Data:
    """A built-in set.

    Args:
        name: digits, wine, breast-cancer or diabetes, which come with scikit-learn; mnist,
            fashion-mnist, cifar10, fsdd, adult, california-housing, tinyshakespeare, names or
            etth1, whose files are in the folder; the first three and adult also come through
            torchvision or Hugging Face datasets, where one is installed.
        folder: where the files are, by default what NOMAGIC_DATA names.

    Raises:
        DataError: there is none of this name, or its files are not found.
    """
    if name in bundled.LOADERS:
        return _bundled(name)
    if name not in NAMES:
        raise DataError(
            f"there is no built-in data set {name!r}{nearest(name, NAMES)}; "
            f"there are {', '.join(NAMES)}"
        )
    named = folder or os.environ.get("NOMAGIC_DATA")
    return _from_files(name, Path(named).expanduser().absolute() if named else None)


@lru_cache
def _bundled(name: str) -> Data:
    return bundled.LOADERS[name]()


@lru_cache(maxsize=2)
def _from_files(name: str, place: Path | None) -> Data:
    lacking = folder.missing(name, place) if place is not None else []
    if place is not None and not lacking:
        return folder.load(name, place)
    found, tried = libraries.load(name, place)
    if found is not None:
        return found
    files = ", ".join(folder.FILES[name])
    if place is None:
        where = "no folder is named"
    elif not place.is_dir():
        where = f"there is no folder {place}"
    else:
        where = f"{place} has no {', '.join(lacking)}"
    raise DataError(
        f"the files of {name} are not found: {'; '.join([where, *tried])}. Put {files} into a "
        "folder and name it with --data, data(name, folder) or the variable NOMAGIC_DATA"
    )
