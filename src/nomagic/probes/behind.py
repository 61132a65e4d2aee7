"""What the autograd graph tells of a loss that was computed out of sight, in compiled code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True, slots=True)
class Behind:
    """The call of a loss function; ``node`` and ``number`` made its prediction."""

    name: str
    func: Any
    target: Tensor
    settings: Mapping[str, Any]
    node: Any
    number: int

    def made(self, tensor: Tensor) -> bool:
        """Whether this tensor is the prediction."""
        return tensor.grad_fn is self.node and tensor.output_nr == self.number


def behind(loss: Tensor) -> Behind | None:
    """The call of a loss function that ends a graph, if autograd knows it."""
    import torch.nn.functional as F

    node: Any = loss.grad_fn
    kind = type(node).__name__.removesuffix("0").removesuffix("Backward")
    above = _next(node)
    if kind == "NllLoss" and above and type(above[0]).__name__ == "LogSoftmaxBackward0":
        settings = {"weight": node._saved_weight, "ignore_index": _signed(node._saved_ignore_index)}
        return _call("cross_entropy", F.cross_entropy, node, above[0], settings)
    if kind == "MseLoss":
        return _call("mse_loss", F.mse_loss, node, node, {})
    if kind == "BinaryCrossEntropyWithLogits":
        func = F.binary_cross_entropy_with_logits
        return _call("binary_cross_entropy_with_logits", func, node, node, {})
    return None


def _call(name: str, func: Any, node: Any, last: Any, settings: dict[str, Any]) -> Behind | None:
    above = _next(last)
    if above is None:
        return None
    settings["reduction"] = REDUCTIONS[node._saved_reduction]
    return Behind(name, func, node._saved_target, settings, *above)


def _next(node: Any) -> tuple[Any, int] | None:
    return node.next_functions[0] if node is not None and node.next_functions else None


def _signed(index: int) -> int:
    """Autograd keeps -100 as an unsigned number."""
    return index - 2**64 if index >= 2**63 else index
