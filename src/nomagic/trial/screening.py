"""The learning rate that an arm is tried with: both arms may choose among the same factors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Table = dict[float, NDArray[np.float64]]
"""For each factor on the learning rate the scores of the screening seeds, higher is better."""

RATES = (0.5, 1.0, 2.0)
"""Factors on the learning rate of the baseline that are screened."""


def pick(table: Mapping[float, NDArray[np.float64]], usual: float) -> float:
    """The factor with the fewest failures and the best mean score.

    The ``usual`` one is only left for one that is better by more than the standard error of the
    paired differences, so that chance does not give two arms different rates. Without scores the
    usual one, or the only one.
    """
    if usual not in table:
        usual = next(iter(table), usual)
    better = [rate for rate in table if rate != usual and _beats(table[rate], table[usual])]
    return max(better, key=lambda rate: _rank(table[rate]), default=usual)


def _beats(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    if not len(one) or _failures(one) != _failures(other):
        return len(one) > 0 and _failures(one) < _failures(other)
    gaps = (one - other)[np.isfinite(one - other)]
    if len(gaps) < 2:
        return False
    return float(gaps.mean()) > float(gaps.std(ddof=1)) / math.sqrt(len(gaps))


def _rank(scores: NDArray[np.float64]) -> tuple[int, float]:
    return -_failures(scores), mean(scores)


def _failures(scores: NDArray[np.float64]) -> int:
    return int((~np.isfinite(scores)).sum())


def mean(scores: NDArray[np.float64]) -> float:
    """The mean of the runs that finished, nan if none did."""
    finite = scores[np.isfinite(scores)]
    return float(finite.mean()) if len(finite) else math.nan


def means(table: Mapping[float, NDArray[np.float64]]) -> dict[float, float]:
    """The mean score of each factor that was screened."""
    return {rate: mean(scores) for rate, scores in table.items() if len(scores)}
