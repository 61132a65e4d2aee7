"""The small sets that come with scikit-learn: nothing is read from the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nomagic.datasets.samples import Data, DataError


def digits() -> Data:
    """Handwritten digits: 1,797 images of 1 x 8 x 8 in [0, 1], ten classes."""
    found = _load("load_digits")
    x = torch.from_numpy(found.images).float().div(16).unsqueeze(1)
    return Data("digits", x, torch.from_numpy(found.target), "classification", _names(found))


def wine() -> Data:
    """Chemistry of 178 wines, 13 columns as measured, from three growers."""
    return _table("wine", "load_wine")


def breast_cancer() -> Data:
    """Cell nuclei of 569 tumours, 30 columns as measured, malignant or benign."""
    return _table("breast-cancer", "load_breast_cancer")


def diabetes() -> Data:
    """Progress of 442 patients after a year, 10 standardised columns; the target is standardised
    with the mean and deviation of all rows (152.1 and 77.0).
    """
    found = _load("load_diabetes")
    x = torch.from_numpy(found.data).float() / torch.from_numpy(found.data).std().float()
    y = torch.from_numpy(found.target)
    unit = (float(y.mean()), float(y.std(correction=0)))
    return Data("diabetes", x, standardised(y), "regression", unit=unit)


def standardised(y: Tensor) -> Tensor:
    """Each column with mean 0 and deviation 1, float32."""
    y = y.double()
    return ((y - y.mean(0)) / y.std(0, correction=0)).float()


def _table(name: str, loader: str) -> Data:
    found = _load(loader)
    x, y = torch.from_numpy(found.data).float(), torch.from_numpy(found.target)
    return Data(name, x, y.long(), "classification", _names(found))


def _names(found: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in found.target_names)


def _load(loader: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            "this built-in set comes with scikit-learn, which is not installed: "
            "pip install scikit-learn"
        ) from error
    return getattr(datasets, loader)()


LOADERS: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "wine": wine,
    "breast-cancer": breast_cancer,
    "diabetes": diabetes,
}
