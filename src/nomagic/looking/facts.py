"""Plain facts about samples, as a look and a fit report them: ranges, copies, classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from nomagic.words import Picture, Series, Task

RARE = 0.1
"""A class with less than this share of the most frequent one's samples is called rare."""
SHOWN = 30
"""Bars in a picture, at most."""


def span(x: Tensor) -> dict[str, float]:
    """The least, mean, deviation and largest of all numbers, in float64."""
    values = x.double()
    return {
        "least": float(values.min()),
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "largest": float(values.max()),
    }


def constant(x: Tensor) -> int:
    """Numbers of the input that are the same in all samples."""
    flat = x.reshape(len(x), -1)
    return int((flat == flat[:1]).all(0).sum())


def keys(x: Tensor) -> list[bytes]:
    """A digest of the bytes of each sample."""
    rows = x.reshape(len(x), -1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=12).digest() for row in rows]


def repeated(found: list[bytes]) -> int:
    """Samples that are byte for byte the same as an earlier one, by their digests."""
    return len(found) - len(set(found))


def classes(task: Task, y: Tensor, labels: tuple[str, ...]) -> dict[str, int]:
    """Samples of each class that occurs, by its name; empty where there are no classes."""
    if task not in ("classification", "binary"):
        return {}
    counts: Counter[int] = Counter(y.flatten().long().tolist())
    return {name(task, labels, code): counts[code] for code in sorted(counts)}


def name(task: Task, labels: tuple[str, ...], code: int) -> str:
    """The name of a class, or its number."""
    known = labels or (("no", "yes") if task == "binary" else ())
    return known[code] if code < len(known) else str(code)


def rare(counts: Mapping[str, int]) -> list[str]:
    """Classes with less than a tenth of the samples of the most frequent one."""
    most = max(counts.values(), default=0)
    return [name for name, count in counts.items() if count < RARE * most]


def balance(counts: Mapping[str, int]) -> Picture:
    """The samples of each class, most frequent first."""
    names = sorted(counts, key=lambda name: -counts[name])[:SHOWN]
    bars = Series(
        "samples", tuple(names), tuple(float(counts[name]) for name in names), kind="bars"
    )
    return Picture(
        "Samples of each class",
        f"The largest class has {max(counts.values())} samples, the smallest "
        f"{min(counts.values())}.",
        "class",
        "samples",
        (bars,),
    )


def histogram(values: Tensor, title: str, what: str) -> Picture:
    """How numbers are spread, each by itself where they are few; ``what`` is their name."""
    values = values.double().flatten()
    middles, counts = values.unique(return_counts=True)
    if len(middles) > SHOWN:
        counts, edges = torch.histogram(values, bins=SHOWN)
        middles = (edges[1:] + edges[:-1]) / 2
    return Picture(
        title,
        f"They lie between {float(values.min()):.4g} and {float(values.max()):.4g}, with a "
        f"mean of {float(values.mean()):.4g}.",
        what,
        "samples",
        (Series("samples", tuple(middles.tolist()), tuple(map(float, counts.tolist()))),),
    )
