"""What a loss is made of: input and target among its arguments, its numbers, its plain formula.

Everything here reads live tensors and returns numbers, or small tensors of numbers that are brought
home later. Nothing is drawn, kept or changed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nomagic.probes.run import Op
from nomagic.probes.trace import PLUMBING, is_wrapped

ELEMENTS = 65_536
"""Elements of a tensor that are measured; larger ones are thinned evenly."""
FEWEST = 16
"""Rows that are measured at least, however many classes they have."""
COUNTED = 4096
"""Classes up to which targets are counted."""

SPREAD = 7
"""Numbers of one spread: low, high, mean, mean square, shares below 0, above 1, below -1."""
NUMBERS = 2 * SPREAD + 4
"""Numbers of one call: spreads of input and target, rows, log-rows, plain loss, value."""
VALUE = NUMBERS - 1
LOWS = frozenset({0, SPREAD})
HIGHS = frozenset({1, SPREAD + 1})

LAST = frozenset({"mean", "sum", "nanmean", "norm", "vector_norm", "linalg_vector_norm"})
"""Operations that a loss written by hand ends in."""
SQUARES = frozenset({"pow", "__pow__", "square", "mul", "__mul__"})
DIFFERENCES = frozenset({"sub", "subtract", "__rsub__"})
LOGS = frozenset({"log_softmax", "log", "log_sigmoid"})

Maker = Callable[[Any], Op | None]
Given = tuple[Any, Any]


# ---- input and target ------------------------------------------------------------------------


def operands(op: Op, kind: str) -> Given | None:
    """Input and target of a loss function's call; of a symmetric one, that with gradients first."""
    given = [*op.args[:2]]
    given += [op.kwargs[name] for name in ("input", "target")[len(given) :] if name in op.kwargs]
    if len(given) != 2 or not all(dense(tensor) for tensor in given):
        return None
    pred, target = given
    if kind in ("mse", "l1", "smooth_l1", "huber") and target.requires_grad > pred.requires_grad:
        return target, pred
    return pred, target


def dense(tensor: Any) -> bool:
    """Whether this is an ordinary real tensor."""
    from torch import Tensor, strided

    return isinstance(tensor, Tensor) and tensor.layout == strided and not tensor.is_complex()


def readable(tensor: Any) -> bool:
    """Whether a tensor has numbers that can be read: not inside vmap, not meta, not quantised."""
    return (
        dense(tensor)
        and tensor.numel() > 0
        and tensor.device.type != "meta"
        and not tensor.is_quantized
        and not is_wrapped(tensor)
    )


def weighted(op: Op) -> bool:
    """Whether a loss function's call has class, sample or positive weights."""
    from torch import Tensor

    more = (*op.args[2:], *(op.kwargs.get(name) for name in ("weight", "pos_weight")))
    return any(isinstance(value, Tensor) for value in more)


# ---- formulas in plain operations --------------------------------------------------------------


def recognise(op: Op, maker: Maker) -> tuple[str, Given | None]:
    """The loss that ends in this mean, sum or norm: its kind, and input and target if it is one."""
    inside = op.args[0] if op.args else op.kwargs.get("input")
    if "norm" in op.name:
        return "mse", None if op.output.dim() else _difference(inside, maker)
    top = through(inside, maker)
    if top is None or not top.args:
        return "", None
    if top.name in ("gather", "__getitem__"):
        return "nll", _picked(top, maker)
    if top.name == "add":
        return "bce", _binary(top, maker)
    if top.name == "mul" and not _is_square(top):
        return _product(top, maker)
    return _regression(top, maker)


def _regression(top: Op, maker: Maker) -> tuple[str, Given | None]:
    if top.name in SQUARES and _is_square(top):
        return "mse", _difference(top.args[0], maker)
    if top.name == "abs":
        return "l1", _difference(top.args[0], maker)
    return "", None


def _product(top: Op, maker: Maker) -> tuple[str, Given | None]:
    """A weighted regression, or probabilities times log-probabilities."""
    for factor, other in (top.args[:2], top.args[1::-1]):
        made = through(factor, maker)
        if made is None or not made.args:
            continue
        if made.name in ("log_softmax", "log") and dense(other) and not other.requires_grad:
            same = other.shape == factor.shape and other.dim() == 2 and other.is_floating_point()
            return "nll", (factor, other) if same else None
        kind, given = _regression(made, maker)
        if given is not None:
            return kind, given
    return "", None


def through(tensor: Any, maker: Maker) -> Op | None:
    """The operation that made a tensor, looking through plumbing, signs and constant factors."""
    for _ in range(8):
        op = maker(tensor)
        if op is None:
            return None
        plumbing = op.name in PLUMBING and _index(op) is None
        if not (op.name == "neg" or _is_scaled(op) or plumbing):
            return op
        tensor = op.args[0] if op.args else None
    return None


def _is_scaled(op: Op) -> bool:
    scales = op.name in ("mul", "div") and len(op.args) == 2
    return scales and isinstance(op.args[1], int | float)


def _is_square(op: Op) -> bool:
    if op.name == "square" or len(op.args) < 2:
        return op.name == "square"
    if op.name in ("mul", "__mul__"):
        return op.args[0] is op.args[1]
    return isinstance(op.args[1], int | float) and op.args[1] == 2


def _difference(tensor: Any, maker: Maker) -> Given | None:
    """The sides of a difference: what the network made, and what has no gradient."""
    made = through(tensor, maker)
    if made is None or made.name not in DIFFERENCES or len(made.args) != 2:
        return None
    a, b = made.args
    if not (dense(a) and dense(b)) or a.requires_grad == b.requires_grad:
        return None
    pred, target = (a, b) if a.requires_grad else (b, a)
    return (pred, target) if not pred.is_leaf and pred.dim() and target.dim() else None


def _picked(op: Op, maker: Maker) -> Given | None:
    """Log-probabilities and the classes picked from them."""
    logs, classes = op.args[0], _index(op)
    if not (dense(logs) and dense(classes)) or logs.dim() != 2 or not logs.requires_grad:
        return None
    made = maker(logs)
    if made is None or made.name not in ("log_softmax", "log") or classes.is_floating_point():
        return None
    if op.name == "gather" and classes.dim() == 2 and classes.shape[1] == 1:
        classes = classes.squeeze(1)
    return (logs, classes) if classes.shape == logs.shape[:1] else None


def _index(op: Op) -> Any:
    """The classes in ``p.gather(1, classes)`` and ``p[rows, classes]``; None if none are picked."""
    from torch import Tensor

    if op.name == "gather":
        return op.args[2] if len(op.args) > 2 else op.kwargs.get("index")
    if op.name == "__getitem__" and len(op.args) == 2:
        index = op.args[1]
        if isinstance(index, tuple) and len(index) == 2 and isinstance(index[1], Tensor):
            return index[1]
    return None


def _binary(top: Op, maker: Maker) -> Given | None:
    """``y * log(p) + (1 - y) * log(1 - p)``: p and y."""
    for side in top.args[:2]:
        made = through(side, maker)
        if made is None or made.name != "mul" or len(made.args) < 2:
            continue
        for log, target in (made.args[:2], made.args[1::-1]):
            logged = through(log, maker)
            if logged is None or logged.name != "log" or not dense(target):
                continue
            pred = logged.args[0]
            inner = maker(pred)
            if inner is not None and inner.name in DIFFERENCES:
                continue  # the side of 1 - p
            if dense(pred) and pred.requires_grad and not target.requires_grad and target.dim():
                return pred, target
    return None


# ---- numbers -----------------------------------------------------------------------------------


def measure(kind: str, pred: Any, target: Any, output: Any, ignore: int) -> Any:
    """The numbers of one call as one small tensor on the device; None if they cannot be read."""
    import torch

    if not (readable(pred) and readable(target) and readable(output)):
        return None
    classes = kind in ("cross_entropy", "nll") and pred.dim() > 0
    close = 1e-4 if pred.element_size() >= 4 else 1e-2
    if classes:
        pred, target = rows(pred, target)
    elif pred.shape == target.shape:
        pred, target = thin(pred), thin(target)
    pred = pred.detach().float()
    return torch.cat(
        [
            spread(thin(pred)),
            spread(thin(target).float()),
            _sums(pred, close) if classes else pred.new_full((2,), math.nan),
            _loss(kind, pred, target.detach(), ignore).reshape(1),
            output.detach().float().mean().reshape(1),
        ]
    )


def spread(tensor: Any) -> Any:
    """Smallest, largest, mean, mean square, shares below 0, above 1 and below -1."""
    import torch

    x = tensor.reshape(-1)
    shares = [(x < 0).float().mean(), (x > 1).float().mean(), (x < -1).float().mean()]
    return torch.stack([*torch.aminmax(x), x.mean(), x.square().mean(), *shares])


def thin(tensor: Any) -> Any:
    """At most `ELEMENTS` of a tensor's values, evenly strided, without copying the rest."""
    tensor = tensor.detach()
    while tensor.numel() > ELEMENTS:
        tensor = tensor[_stride(tensor.shape, ELEMENTS)]
    return tensor


def _stride(shape: Iterable[int], wanted: int) -> tuple[slice, ...]:
    """An index that thins the longest axis towards so many elements, by at least a half."""
    sizes = list(shape)
    axis = max(range(len(sizes)), key=lambda i: sizes[i])
    step = max(2, min(math.ceil(math.prod(sizes) / wanted), sizes[axis]))
    return (*(slice(None) for _ in range(axis)), slice(None, None, step))


def rows(pred: Any, target: Any) -> Given:
    """Input as rows of classes, and the target of each; thinned evenly."""
    pred, target = pred.detach(), target.detach()
    if pred.dim() == 1:
        pred, target = pred[None], target[None]
    soft = target.is_floating_point()
    pred = pred.movedim(1, -1)
    target = target.movedim(1, -1) if soft else target
    wanted = max(FEWEST, ELEMENTS // pred.shape[-1])
    while math.prod(pred.shape[:-1]) > wanted:
        index = _stride(pred.shape[:-1], wanted)
        pred, target = pred[index], target[index]
    pred = pred.reshape(-1, pred.shape[-1])
    return pred, target.reshape(pred.shape if soft else -1)


def _sums(pred: Any, close: float) -> Any:
    """Shares of the rows that sum to one, and whose exponentials do."""
    import torch

    ones = (pred.sum(-1) - 1).abs() < close
    zeros = torch.logsumexp(pred, -1).abs() < 1e-2
    return torch.stack([ones.float().mean(), zeros.float().mean()])


def _loss(kind: str, pred: Any, target: Any, ignore: int) -> Any:
    """The mean loss of one element: no weights, no smoothing."""
    from torch.nn import functional as F

    if kind in ("cross_entropy", "nll"):
        logs = pred.log_softmax(-1) if kind == "cross_entropy" else pred
        if target.is_floating_point():
            return -(target.float() * logs).sum(-1).mean()
        return F.nll_loss(logs, target.long(), ignore_index=ignore)
    if pred.shape != target.shape:
        return pred.new_tensor(math.nan)
    if kind == "bce_with_logits":
        return F.binary_cross_entropy_with_logits(pred, target.float())
    if kind == "bce":
        return F.binary_cross_entropy(pred, target.float())
    return (pred - target.float()).square().mean()


def count(given: Given, classes: int, ignore: int, before: Any) -> Any:
    """How often each class was the target, added to what was counted before."""
    import torch

    target = given[1]
    if not 1 < classes <= COUNTED or not readable(target):
        return before
    if target.is_floating_point():
        now = rows(*given)[1].float().sum(0)
    else:
        target = thin(target).reshape(-1).long()
        valid = (target >= 0) & (target < classes) & (target != ignore)
        now = torch.bincount(torch.where(valid, target, classes), minlength=classes + 1)
        now = now[:classes].float()
    return now if before is None else before + now


def number(tensor: Any) -> float:
    """A loss as a number; nan where it cannot be read."""
    return float(tensor.detach().float().mean()) if readable(tensor) else math.nan


def home(numbers: list[Any]) -> Iterator[list[float]]:
    """Small tensors as lists of numbers, with one transfer for each device."""
    import torch

    groups: dict[Any, list[Any]] = {}
    for tensor in numbers:
        groups.setdefault(tensor.device, []).append(tensor)
    lists = {device: iter(torch.stack(group).tolist()) for device, group in groups.items()}
    return (next(lists[tensor.device]) for tensor in numbers)


# ---- the autograd graph ------------------------------------------------------------------------


def order(tensor: Any) -> int | None:
    """The number of the node that made a tensor: its own in its thread, and keeps nothing alive."""
    fn = tensor.grad_fn
    return None if fn is None else fn._sequence_nr()


def upstream(loss: Any, wanted: Iterable[int], limit: int) -> Iterator[int]:
    """Those of the wanted node numbers between a loss and its leaves, nearest first."""
    left = set(wanted)
    if loss.grad_fn is None or not left:
        return
    oldest = min(left)
    queue, seen = deque([loss.grad_fn]), {loss.grad_fn}
    while queue and left and len(seen) < limit:
        node = queue.popleft()
        number = node._sequence_nr()
        if number in left:
            left.discard(number)
            yield number
        if number < oldest:
            continue  # nodes are numbered as they are made: nothing wanted lies above
        for above, _ in node.next_functions:
            if above is not None and above not in seen:
                seen.add(above)
                queue.append(above)
