"""What several questions share: features, nearest neighbours, out-of-sample predictions.

The model is a plain one, an approximate Gaussian kernel (Nystroem; Williams & Seeger 2000) below a
logistic or ridge regression: it trains in seconds, and is good enough on small images, sounds and
tables that what it is surely wrong about is worth a look.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.looking.subject import Subject
from nomagic.parts.presets.kinds import kind

Array = np.ndarray[Any, Any]

POOLED = 32
"""Pixels of the side that images and spectrograms are pooled to, at most."""
KEPT = 50
"""Principal components that features are cut to, where there are more numbers."""
HASHED = 4_096
"""Pairs of neighbouring tokens that are told apart."""
NEIGHBOURS = 8
FOLDS = 5
TRAINED = 3_000
"""Samples that each model is fitted on, at most."""
COMPONENTS = 400
"""Samples that span the kernel."""
WIDTH = 2.0
"""The kernel's exponent at the median squared distance."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What models that had not seen a sample say of it.

    ``chances`` (n, classes) are probabilities where there are classes, ``values`` (n, targets)
    numbers in a regression.
    """

    chances: Array | None = None
    values: Array | None = None


class Study:
    """A subject, and what is computed of it once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @cached_property
    def features(self) -> Array:
        """Numbers (n, d) in which near samples are alike, about 1 in size."""
        return _short(_features(self.subject))

    @cached_property
    def neighbours(self) -> tuple[Array, Array]:
        """Distances and places (n, k) of the nearest other samples."""
        from sklearn.neighbors import NearestNeighbors

        count = min(NEIGHBOURS, len(self.subject) - 1)
        found = NearestNeighbors(n_neighbors=count).fit(self.features)
        return found.kneighbors()

    @cached_property
    def distance(self) -> Array:
        """The distance (n,) of each sample to its neighbours, over the median one."""
        own = self.neighbours[0][:, -1]
        return own / (float(np.median(own)) or 1.0)

    @cached_property
    def guess(self) -> Guess | None:
        """Predictions for each sample by models that have not seen it; None without a target."""
        subject = self.subject
        if subject.codes is not None:
            return Guess(chances=self._classify(subject.codes.numpy()))
        if subject.task == "regression" and subject.y is not None:
            return Guess(values=self._regress(subject.y.reshape(len(subject), -1).double().numpy()))
        return None

    def _classify(self, codes: Array) -> Array | None:
        from sklearn.linear_model import LogisticRegression

        if np.bincount(codes)[np.unique(codes)].min() < 2:
            return None
        chances = np.zeros((len(codes), max(self.subject.form.outputs, int(codes.max()) + 1)))
        for train, held in self._folds(codes):
            model = _kernel(LogisticRegression(C=30.0, max_iter=300), self.features[train])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(self.features[train], codes[train])
            known: Any = model.classes_
            chances[np.ix_(held, known)] = model.predict_proba(self.features[held])
        return chances

    def _regress(self, targets: Array) -> Array:
        from sklearn.linear_model import RidgeCV

        values = np.zeros_like(targets)
        for train, held in self._folds(None):
            model = _kernel(RidgeCV(np.logspace(-4, 2, 7)), self.features[train])
            model.fit(self.features[train], targets[train])
            values[held] = model.predict(self.features[held]).reshape(len(held), -1)
        return values

    def _folds(self, codes: Array | None) -> Iterator[tuple[Array, Array]]:
        """Rows to fit on, at most `TRAINED`, and rows to predict, which are all in turn."""
        from sklearn.model_selection import KFold, StratifiedKFold

        count, random = len(self.subject), np.random.default_rng(self.subject.seed)
        least = count if codes is None else int(np.bincount(codes)[np.unique(codes)].min())
        folds = max(2, min(FOLDS, least))
        maker = KFold if codes is None else StratifiedKFold
        split = maker(folds, shuffle=True, random_state=self.subject.seed)
        for train, held in split.split(self.features, codes):
            yield random.permutation(train)[:TRAINED] if len(train) > TRAINED else train, held


def _kernel(model: Any, x: Array) -> Any:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import make_pipeline

    some = x[:: max(1, len(x) // 300)]
    squares = ((some[:, None] - some[None]) ** 2).sum(-1)
    middle = float(np.median(squares[squares > 0])) if (squares > 0).any() else 1.0
    count = min(COMPONENTS, len(x))
    return make_pipeline(Nystroem(gamma=WIDTH / middle, n_components=count, random_state=0), model)


# -- features -------------------------------------------------------------------------------------


def _features(subject: Subject) -> Tensor:
    what = kind(subject.form)
    fed = subject.fed if bool(subject.fed.isfinite().all()) else subject.x
    if what == "tokens":
        return counted(fed)
    fed = fed.float()
    if what == "image":
        return _pooled(fed.reshape(len(fed), -1, *fed.shape[-2:]))
    if what == "waveform":
        return _scaled(_pooled(spectrum(fed.mean(1))[:, None]))
    flat = fed.reshape(len(fed), -1)
    return _scaled(flat)


def _pooled(x: Tensor) -> Tensor:
    """Images (n, channels, height, width), made small and flat."""
    high, wide = (min(side, POOLED) for side in x.shape[-2:])
    return F.adaptive_avg_pool2d(x, (high, wide)).flatten(1)


def spectrum(x: Tensor, bands: int = 128) -> Tensor:
    """Waveforms (n, samples) as the logarithm of their spectrogram (n, bands, times)."""
    window = torch.hann_window(2 * bands)
    found = [
        torch.stft(part, 2 * bands, bands, window=window, return_complex=True).abs()
        for part in x.split(512)
    ]
    return (torch.cat(found)[:, :bands] + 1e-3).log()


def counted(x: Tensor) -> Tensor:
    """Tokens (n, length) as the roots of how often each, and each pair (hashed), occurs."""
    size = int(x.max()) + 1
    found = torch.zeros(len(x), min(size, HASHED) + HASHED)
    pairs = (x[:, :-1] * 1_000_003 + x[:, 1:]) % HASHED + min(size, HASHED)
    for places in (x % HASHED, pairs):
        found.scatter_add_(1, places.long(), torch.ones(places.shape))
    used = found.sum(0) > 0
    return found[:, used].sqrt()


def _scaled(x: Tensor) -> Tensor:
    """Each number with mean 0 and deviation 1; constant ones are left out."""
    deviation = x.std(0)
    moving = deviation > 0
    return ((x - x.mean(0)) / deviation)[:, moving] if bool(moving.any()) else x[:, :1] * 0


def _short(x: Tensor) -> Array:
    """Principal components where there are many numbers, scaled to a mean square of 1."""
    found = x.double().numpy()
    if found.shape[1] > KEPT + 14:
        from sklearn.decomposition import PCA

        solver = "randomized" if found.shape[1] > 500 else "auto"
        most = min(KEPT, len(found))
        found = PCA(most, random_state=0, svd_solver=solver).fit_transform(found)
    size = float(np.sqrt((found**2).mean())) or 1.0
    return (found / size).astype(np.float32)
