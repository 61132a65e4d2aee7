"""Values as TOML writes them; the standard library only reads it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any


def pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table; what is None is left out."""
    for name, inner in values.items():
        if inner is not None:
            yield f"{key(name)} = {value(inner)}"


def key(name: str) -> str:
    """A name, in quotes where it needs them."""
    bare = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    return name if bare else value(name)


def value(given: Any) -> str:
    """A number, text, list or table on one line."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return repr(float(given)) if math.isfinite(given) else str(float(given))
    if isinstance(given, int):
        return str(given)
    if isinstance(given, (list, tuple)):
        return f"[{', '.join(value(inner) for inner in given)}]"
    if isinstance(given, Mapping):
        inner = (f"{key(str(name))} = {value(item)}" for name, item in given.items())
        return f"{{{', '.join(inner)}}}"
    return json.dumps(str(given), ensure_ascii=False).replace("\x7f", "\\u007f")
