"""Whether a split can tell anything: every class must be learnt, and most must be asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nomagic.datasets.samples import Data, DataError


def check_split(data: Data, train_rows: Tensor, held_rows: Tensor) -> None:
    """Raise `DataError` when classes are missing from a part of the data.

    None may be missing from the training part. A rare class may be missing from the held-out one
    by chance; two may not, nor may only one class be left. A Dataset that does not tell its
    targets is not looked at.
    """
    y = data.y if data.y is not None else known_targets(data.x)
    if y is None or data.task not in ("classification", "binary"):
        return
    count = data.form.outputs if data.task == "classification" else 2
    for part, rows, allowed in (("training", train_rows, 0), ("held-out", held_rows, 1)):
        if not len(rows):
            raise DataError(f"the {part} part is empty; expected samples of each class")
        present = torch.bincount(y[rows].flatten().long(), minlength=count) > 0
        in_data = torch.bincount(y.flatten().long(), minlength=count) > 0
        missing = (in_data & ~present).nonzero().flatten().tolist()
        if len(missing) > allowed or int(present.sum()) < 2:
            raise DataError(_missing(data, part, len(rows), missing))


def _missing(data: Data, part: str, size: int, missing: list[int]) -> str:
    names = [data.labels[code] if data.labels else str(code) for code in missing[:5]]
    which = ", ".join(names) + (", …" if len(missing) > 5 else "")
    number = "1 class is" if len(missing) == 1 else f"{len(missing)} classes are"
    return (
        f"{number} missing from the {part} part of {size} samples ({which}): "
        "shuffle before a fixed split, choose another split, hold out another share "
        "(Setup.split, Setup.held_out), or merge rare classes"
    )


def known_targets(dataset: Any) -> Tensor | None:
    """The classes of all items of a Dataset that tells them (``targets``, also of a Subset)."""
    inner, rows = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and rows is not None:
        all_of_them = known_targets(inner)
        return None if all_of_them is None else all_of_them[torch.as_tensor(rows)]
    targets = getattr(dataset, "targets", None)
    if targets is None:
        targets = getattr(dataset, "labels", None)
    try:
        found = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError):
        return None
    return found if found.shape == (len(dataset),) and not found.is_floating_point() else None
