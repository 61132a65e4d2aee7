"""Looking at live tensors at little cost: thin samples, norms in bulk, the leaves of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE = 1_024
"""Numbers taken of one tensor, at most."""
NODES = 20_000
"""Nodes of one graph that are walked, at most."""

MATRIX = ("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Mv", "Addmv", "Linear", "MkldnnLinear")
"""Beginnings of the names of graph nodes that multiply by a weight matrix."""
PASSING = (
    "T",
    "Transpose",
    "View",
    "UnsafeView",
    "Permute",
    "ToCopy",
    "Reshape",
    "Alias",
    "Unsqueeze",
)
"""Nodes that a weight may pass through on its way into such a product."""


def ordinary(tensor: Any) -> bool:
    """Whether this is a dense tensor of real numbers whose values can be read here and now."""
    import torch

    wrapped: Any = vars(torch)["_C"]._functorch.is_functorch_wrapped_tensor
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and tensor.is_floating_point()
        and not tensor.is_meta
        and tensor.numel() > 0
        and not wrapped(tensor)
    )


def stride(count: int, most: int = SAMPLE) -> int:
    """A step that takes at most so many of ``count`` numbers, not all of them from one column."""
    step = max(1, math.ceil(count / most))
    while math.gcd(step, count) != 1:
        step += 1
    return step


def sample(tensor: Tensor) -> Tensor:
    """Some of the numbers of a tensor, flat and detached; a view where that is possible."""
    flat = tensor.detach().reshape(-1)
    return flat if flat.numel() <= SAMPLE else flat[:: stride(flat.numel())]


def norms(tensors: Sequence[Tensor]) -> list[float]:
    """The norm of each, with one copy from each device."""
    import torch

    found = [math.nan] * len(tensors)
    for device in {tensor.device for tensor in tensors}:
        here = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        wide = [_wide(tensors[i].detach()) for i in here]
        each: Any = vars(torch)["_foreach_norm"](wide)
        values = torch.stack([value.float() for value in each]).tolist()
        for i, value in zip(here, values, strict=True):
            found[i] = value
    return found


def _wide(tensor: Tensor) -> Tensor:
    """Half precision overflows when it is squared."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def walk(root: Any) -> Iterator[Any]:
    """The nodes of a graph, nearest to the loss first."""
    seen = {root}
    queue = [root] if root is not None else []
    for node in queue:
        yield node
        if len(queue) < NODES:
            for below, _ in node.next_functions:
                if below is not None and below not in seen:
                    seen.add(below)
                    queue.append(below)


def leaves(loss: Tensor) -> list[Tensor]:
    """The tensors that this loss will give a gradient."""
    found = (getattr(node, "variable", None) for node in walk(loss.grad_fn))
    return [leaf for leaf in found if leaf is not None]


def heads(loss: Tensor) -> list[Tensor]:
    """The weight matrices that no other stands behind: those of the output layers."""
    found: list[Tensor] = []
    seen = {loss.grad_fn}
    queue = [loss.grad_fn] if loss.grad_fn is not None else []
    for node in queue:
        weight = _weight(node)
        if weight is not None:
            found.append(weight)
        elif len(queue) < NODES:
            for below, _ in node.next_functions:
                if below is not None and below not in seen:
                    seen.add(below)
                    queue.append(below)
    return found


def _weight(node: Any) -> Any:
    """The weight matrix that this node multiplies by, if it does."""
    if not node.name().startswith(MATRIX):
        return None
    for below, _ in node.next_functions:
        while below is not None and below.name().removesuffix("Backward0") in PASSING:
            below = below.next_functions[0][0]
        leaf = getattr(below, "variable", None)
        if leaf is not None and leaf.dim() > 1:
            return leaf
    return None
