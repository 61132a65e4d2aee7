"""Parts of a setup as plain values, and back: what a file may say of a network without pickle.

A file names functions and classes and gives their arguments. Only names below `KNOWN` are ever
imported, so that a file that came from someone else cannot run code of its own; a user's own
functions are named with their file and its hash, and come back only where the user passes them.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nomagic.words import BlockRates, Edit, InputStep, Setup

KNOWN = ("nomagic.parts.", "nomagic.practices.", "torch.optim.")
"""Where functions and classes may come from that a file names."""
WORDS: dict[str, type] = {
    f"nomagic.words:{kind.__name__}": kind for kind in (BlockRates, Edit, InputStep)
}
"""Values of ours that are made from what a file names."""
LEFT_OUT = frozenset({"data", "name", "groups"})
"""Fields of a setup that are not described."""

Own = Callable[[Mapping[str, Any]], Any]
"""Gives the user's own function that a file names, or raises `DescriptionError`."""


class DescriptionError(ValueError):
    """A value that cannot be described, or a description that cannot be followed: says why."""


def describe(value: Any) -> Any:
    """A value as numbers, text, lists and tables.

    Functions and classes become ``{"name": "module:name"}``, partials and values of frozen
    dataclasses get their arguments, and the user's own functions ``{"own": …, "file", "sha256"}``.

    Raises:
        DescriptionError: it has no name that could be written (a lambda within a partial, say).
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple)):
        return {"list": [describe(one) for one in value]}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, partial):
        given = [describe(one) for one in value.args]
        named = {name: describe(one) for name, one in value.keywords.items()}
        return {"partial": describe(value.func), "args": given, "named": named}
    if is_dataclass(value) and not isinstance(value, type):
        named = {one.name: describe(getattr(value, one.name)) for one in fields(value) if one.init}
        kind = type(value)
        name = f"{kind.__module__}:{kind.__qualname__}"
        return {"make": {"name": name} if name in WORDS else describe(kind), "named": named}
    if callable(value):
        return _named(value)
    raise DescriptionError(f"{type(value).__name__} {value!r:.60} cannot be written down")


def _named(function: Callable[..., Any]) -> dict[str, Any]:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if _known(module) and "<" not in name and name:
        return {"name": f"{module}:{name}"}
    try:
        file = inspect.getsourcefile(inspect.unwrap(function)) or ""
    except TypeError:
        file = ""
    if not Path(file).is_file():
        return {"own": name or repr(function)[:80], "file": "", "sha256": ""}
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    found = {"own": name, "file": Path(file).name, "sha256": digest}
    return found | ({"code": _code(function)} if "<" in name else {})


def _code(function: Any) -> str:
    """What tells functions apart that have no name of their own: line and content."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    content = repr((code.co_code, code.co_names, code.co_varnames, [*map(repr, code.co_consts)]))
    content = re.sub(r" at 0x[0-9a-f]+", "", content)
    return f"{code.co_firstlineno}:{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _known(module: str) -> bool:
    return f"{module}.".startswith(KNOWN)


def refuse(plain: Mapping[str, Any]) -> Any:
    """The `Own` of those who have no code of the user."""
    raise DescriptionError(
        f"it needs {plain['own']} of {plain['file'] or 'your own code'}, which a file cannot bring "
        "along: pass the setup that it was made with"
    )


def restore(plain: Any, own: Own = refuse) -> Any:
    """The value that was described.

    Raises:
        DescriptionError: it names what is not known, or is none that `describe` wrote.
    """
    if plain is None or isinstance(plain, (bool, int, float, str)):
        return plain
    if not isinstance(plain, Mapping):
        raise DescriptionError(f"expected a description, got {type(plain).__name__} {plain!r:.60}")
    if "list" in plain:
        return tuple(restore(one, own) for one in plain["list"])
    if "float" in plain:
        return float(plain["float"])
    if "own" in plain or "name" in plain:
        return own(plain) if "own" in plain else _found(plain["name"])
    return _called(plain, own)


def _called(plain: Mapping[str, Any], own: Own) -> Any:
    named = {str(name): restore(one, own) for name, one in plain.get("named", {}).items()}
    if "partial" in plain:
        given = [restore(one, own) for one in plain.get("args", [])]
        return partial(restore(plain["partial"], own), *given, **named)
    if "make" in plain:
        return _made(plain["make"], named)
    raise DescriptionError(f"expected a description, got a table with {', '.join(plain)}")


def _made(plain: Any, named: dict[str, Any]) -> Any:
    kind = WORDS.get(plain.get("name", "")) or restore(plain)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise DescriptionError(f"{plain} is no kind of value that is made from a description")
    return kind(**named)


def _found(name: str) -> Any:
    module, _, inner = name.partition(":")
    if not _known(module) or not inner:
        raise DescriptionError(f"{name!r} is named, and only {', '.join(KNOWN)} may be")
    try:
        found: Any = importlib.import_module(module)
        for part in inner.split("."):
            found = vars(found)[part]
    except (ImportError, KeyError, TypeError) as error:
        raise DescriptionError(f"there is no {name!r} in this version of nomagic") from error
    if getattr(found, "__module__", "") != module:
        raise DescriptionError(f"{name!r} is not defined there")
    return found


# -- setups -----------------------------------------------------------------------------------


def changes(setup: Setup, base: Setup) -> dict[str, Any]:
    """The fields in which a setup differs from another, described."""
    found: dict[str, Any] = {}
    for one in fields(Setup):
        value = getattr(setup, one.name)
        if one.name not in LEFT_OUT and value != getattr(base, one.name):
            found[one.name] = describe(value)
    return found


def changed(base: Setup, plain: Mapping[str, Any], own: Own | None = None) -> Setup:
    """A setup with fields that `changes` gave; the base's own functions are found in it."""
    from dataclasses import replace

    known = {one.name for one in fields(Setup)} - LEFT_OUT
    strange = set(plain) - known
    if strange:
        raise DescriptionError(f"a setup has no {', '.join(sorted(strange))}")
    mine = own or owner(base)
    return replace(base, **{name: restore(value, mine) for name, value in plain.items()})


def owner(base: Setup) -> Own:
    """Finds the user's own functions among those of a setup, by name and by their file's hash."""

    def own(plain: Mapping[str, Any]) -> Any:
        for value in _functions(base):
            if describe(value) == dict(plain):
                return value
        return refuse(plain)

    return own


def _functions(base: Setup) -> list[Any]:
    found = [getattr(base, one.name) for one in fields(Setup) if one.name not in LEFT_OUT]
    found += [edit.change for edit in base.edits]
    found += [function for step in base.inputs for function in (step.fit, step.use)]
    return [
        part
        for value in found
        if callable(value)
        for part in ((value.func, value) if isinstance(value, partial) else (value,))
    ]


def ours(value: Any) -> bool:
    """Whether a function is one of nomagic's own parts, and not the user's."""
    plain = describe(value)
    while isinstance(plain, Mapping) and "name" not in plain and "own" not in plain:
        plain = plain.get("partial") or plain.get("make")
    name = plain.get("name", "") if isinstance(plain, Mapping) else ""
    return str(name).startswith("nomagic.parts.")
