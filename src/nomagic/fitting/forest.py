"""Boosted trees of scikit-learn as tensors, so that they are saved, served and exported as networks
are: no pickle, no scikit-learn where they predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nomagic import described
from nomagic.parts.presets.kinds import kind
from nomagic.words import Form, Setup

NAMES = ("feature", "threshold", "right", "value", "root", "output", "base")
"""The tensors that a forest consists of."""


class ForestError(ValueError):
    """Tensors that are no forest: says what is wrong with them."""


class Forest(nn.Module):
    """The sum of trees: from inputs (n, *shape) to logits or numbers (n, outputs).

    The nodes of all trees are in one row. A node sends an input whose ``feature`` is at most its
    ``threshold`` to the next node in the row, others to ``right``, which is behind that; a leaf has
    no threshold (nan), leads to itself and has a ``value``. Each tree begins at its ``root`` and
    adds to one ``output``; ``base`` is what there is without trees.

    Raises:
        ForestError: the tensors do not fit together.
    """

    feature: Tensor
    threshold: Tensor
    right: Tensor
    value: Tensor
    root: Tensor
    output: Tensor
    base: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in NAMES:
            if name not in tensors:
                raise ForestError(f"a forest lacks {name!r}")
            self.register_buffer(name, tensors[name])
        self._check()
        self.depth = _depth(self.right.cpu().numpy(), self.root.cpu().numpy())

    def _check(self) -> None:
        count = len(self.right)
        nodes = (self.feature, self.threshold, self.right, self.value)
        own = torch.arange(count, device=self.right.device)
        good = (
            all(one.ndim == 1 and len(one) == count for one in nodes)
            and len(self.root) == len(self.output)
            and bool((self.feature >= 0).all())
            and bool(((self.right > own) | self.threshold.isnan()).all())
            and bool(((own <= self.right) & (self.right < count)).all())
            and _within(self.root, count)
            and _within(self.output, len(self.base))
        )
        if not good:
            raise ForestError("a forest's nodes do not fit together")

    def forward(self, x: Tensor) -> Tensor:
        """Send each input down all trees and add up where it arrives."""
        flat, trees = x.flatten(1), len(self.root)
        count, width = flat.shape  # no len(): an exported graph takes any number of inputs
        start = torch.arange(count, device=x.device)[:, None] * width
        start, numbers = start.expand(count, trees).flatten(), flat.flatten()
        node = self.root.expand(count, trees).flatten()
        for _ in range(self.depth):
            found = numbers.index_select(0, self.feature.index_select(0, node) + start)
            low = found <= self.threshold.index_select(0, node)
            node = torch.where(low, node + 1, self.right.index_select(0, node))
        sums = nn.functional.one_hot(self.output, len(self.base)).to(self.base.dtype)
        return self.base + self.value.index_select(0, node).reshape(count, trees) @ sums


def reason(setup: Setup, form: Form) -> str:
    """Why trees cannot stand beside the networks of a setup; empty if they can."""
    one = form.task in ("classification", "binary") or form.outputs == 1
    if kind(form) != "table" or not one or form.task == "multi-label":
        return "boosted trees are for tables with one target"
    if not described.ours(setup.model):
        return "a network of your own stays alone"
    if setup.loss is not None:
        return "boosted trees do not know your loss"
    return "" if setup.precision == "float32" else "boosted trees are kept in float32 alone"


def _within(places: Tensor, count: int) -> bool:
    return bool(((places >= 0) & (places < count)).all())


def _depth(right: np.ndarray[Any, Any], root: np.ndarray[Any, Any]) -> int:
    """Steps from the roots to the last leaf; children are behind their parents."""
    level = np.zeros(len(right) + 1, np.int64)
    level[root] = 1
    for node in np.flatnonzero(right != np.arange(len(right))):
        for child in (node + 1, right[node]):
            level[child] = max(level[child], level[node] + 1)
    return max(0, int(level.max(initial=0)) - 1)


def of(model: Any, outputs: int, classes: Any = None) -> Forest:
    """The forest of a fitted ``HistGradientBoosting…`` whose inputs were float32 numbers alone.

    Args:
        model: the model.
        outputs: how many outputs a network has for the task.
        classes: of several, the outputs (known classes,) that the model knows; the others get a
            logit that is far below theirs.
    """
    known = np.arange(outputs) if classes is None else np.asarray(classes)
    places = known[1:] if classes is not None and len(known) == 2 else known
    base = np.full(outputs, UNKNOWN)
    base[known] = 0.0
    base[places] = np.ravel(model._baseline_prediction)
    trees = [tree.nodes for each in model._predictors for tree in each]
    tensors = _row(trees) | {
        "output": np.tile(places, len(model._predictors)).astype(np.int64),
        "base": base.astype(np.float32),
    }
    return Forest({name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in tensors.items()})


UNKNOWN = -14.0
"""The logit of a class that was not among the samples."""


def joined(forests: Sequence[Forest]) -> Forest:
    """The mean of what several forests say."""
    found: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    start, share = 0, 1 / len(forests)
    for one in forests:
        moved = {"right": one.right + start, "root": one.root + start}
        for name, tensor in (dict(one.named_buffers()) | moved).items():
            found[name].append(tensor * share if name in ("value", "base") else tensor)
        start += len(one.right)
    base = torch.stack(found.pop("base")).sum(0)
    return Forest({name: torch.cat(each) for name, each in found.items()} | {"base": base})


def _row(trees: Sequence[np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The nodes of all trees in one row; scikit-learn puts the left child behind its parent."""
    sizes = [len(nodes) for nodes in trees]
    starts = np.cumsum([0, *sizes])[:-1]
    nodes, shift = np.concatenate(trees), np.repeat(starts, sizes)
    leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    return {
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        "threshold": _below(np.where(leaf, np.nan, nodes["num_threshold"])),
        "right": np.where(leaf, own, nodes["right"] + shift).astype(np.int64),
        "value": np.where(leaf, nodes["value"], 0.0).astype(np.float32),
        "root": starts.astype(np.int64),
    }


def _below(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The largest float32 numbers that are not above: they divide float32 inputs alike."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
