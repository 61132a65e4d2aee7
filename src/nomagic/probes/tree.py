"""Tensors in whatever holds them: tuples, lists, dicts, dataclasses, outputs of libraries.

`leaves` and `mapped` go through a value in the same order, so that the n-th leaf of a call's output
is the n-th leaf when the call is made again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor

DEPTH = 5
OPAQUE = (
    str,
    bytes,
    int,
    float,
    bool,
    complex,
    type(None),
    type,
    FunctionType,
    MethodType,
    ModuleType,
)


def leaves(value: Any, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors in a value, in order."""
    from torch import Tensor

    return found(value, Tensor, depth)


def found(value: Any, kind: Any, depth: int = DEPTH) -> Iterator[Any]:
    """The things of this kind in a value, in order."""
    if isinstance(value, kind):
        yield value
    elif depth and not isinstance(value, OPAQUE):
        for item in _items(value):
            yield from found(item, kind, depth - 1)


def mapped(value: Any, change: Callable[[Any], Any], kind: Any = None, depth: int = DEPTH) -> Any:
    """The value with every tensor (or thing of this kind) changed; what holds none stays itself."""
    if kind is None:
        from torch import Tensor

        kind = Tensor
    if isinstance(value, kind):
        return change(value)
    if not depth or isinstance(value, OPAQUE):
        return value
    old = list(_items(value))
    new = [mapped(item, change, kind, depth - 1) for item in old]
    if all(a is b for a, b in zip(old, new, strict=True)):
        return value
    return _rebuilt(value, new)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        yield from cast("list[Any]", value)
    elif isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    elif isinstance(value, Mapping):
        yield from cast("Mapping[Any, Any]", value).values()
    else:
        yield from _fields(value).values()


def _fields(value: Any) -> dict[str, Any]:
    """The attributes of a plain object; a module's and a generator's are its own business."""
    from torch import nn

    if isinstance(value, nn.Module | set | frozenset):
        return {}
    try:
        fields = vars(value)
    except TypeError:
        return {}
    return dict(fields)


def _rebuilt(value: Any, items: list[Any]) -> Any:
    if isinstance(value, tuple):
        kind = type(cast("tuple[Any, ...]", value))
        if hasattr(kind, "_fields"):
            return kind(*items)
        return kind(items)
    if isinstance(value, list):
        return items
    if isinstance(value, slice):
        return slice(*items)
    new = copy.copy(value)
    if isinstance(value, Mapping):
        for key, item in zip(cast("Mapping[Any, Any]", value), items, strict=True):
            new[key] = item
    else:
        for name, item in zip(_fields(value), items, strict=True):
            object.__setattr__(new, name, item)
    return new
