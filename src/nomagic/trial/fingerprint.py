"""A name for what a run depends on: equal for equal code, values and data, another for any change.

Functions count by their compiled code, defaults, closures and the globals that they use, followed
into the user's own modules; what is installed counts by its name and version. Arrays count by their
bytes. Nothing is called and nothing is pickled.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
import importlib.metadata
import platform
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})
"""Folders whose code does not change without its version."""
SKIPPED = frozenset(
    (
        "__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__",
        "__dataclass_fields__", "__dataclass_params__", "__parameters__", "__orig_bases__",
        "_abc_impl", "__abstractmethods__",
    )
)  # fmt: skip
"""Attributes of classes that say nothing of what they do."""
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


class NoFingerprintError(TypeError):
    """A value whose content cannot be named, so that nothing may be reused."""


def fingerprint(*values: Any) -> str:
    """Return 32 hexadecimal digits for these values.

    Raises:
        NoFingerprintError: something in them has no content of its own (an open file, a lock).
    """
    walk = _Walk()
    walk.see(platform.python_version_tuple()[:2])
    for value in values:
        walk.see(value)
    return walk.hash.hexdigest()


class _Walk:
    """Feeds everything that can be reached from a value to a hash, each object once."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # ids are only unique among the living

    def see(self, value: Any) -> None:
        """Add one value."""
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            self._say(type(value).__name__, repr(value))
        elif id(value) in self._seen:
            self._say("again", self._seen[id(value)])
        else:
            self._seen[id(value)] = len(self._seen)
            self._alive.append(value)
            self._look(value)

    def _say(self, *words: Any) -> None:
        text = "\x1f".join(str(word) for word in words)
        self.hash.update(f"{len(text)}:{text}".encode("utf-8", "surrogatepass"))

    def _look(self, value: Any) -> None:
        for kinds, look in self._LOOKS:
            if isinstance(value, kinds):
                look(self, value)
                return
        if hasattr(value, "detach") and hasattr(value, "numpy"):
            self._tensor(value)
        elif is_dataclass(value):
            self.see(type(value))
            self._all(getattr(value, field.name) for field in fields(value))
        else:
            self._object(value)

    def _all(self, values: Iterable[Any]) -> None:
        found = list(values)
        self._say("many", len(found))
        for value in found:
            self.see(value)

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        self._say(type(value).__name__)
        self._all(value)

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        self._say("set", *sorted(fingerprint(inner) for inner in value))

    def _mapping(self, value: dict[Any, Any] | types.MappingProxyType[Any, Any]) -> None:
        self._say("mapping", len(value))
        for key, inner in value.items():
            self.see(key)
            self.see(inner)

    def _array(self, value: Any) -> None:
        value = np.asarray(value)
        self._say("array", value.dtype, value.shape)
        if value.dtype.hasobject:
            self._all(value.tolist())
        else:
            self.hash.update(np.ascontiguousarray(value).tobytes())

    def _tensor(self, value: Any) -> None:
        import torch

        plain = value.detach().cpu().contiguous()
        self._say("tensor", plain.dtype, tuple(plain.shape), value.requires_grad)
        self.hash.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())

    def _path(self, value: Path) -> None:
        self._say("path", value)
        if value.is_file():
            facts = value.stat()
            self._say(facts.st_size, facts.st_mtime_ns)

    # -- code -----------------------------------------------------------------------------------

    def _partial(self, value: functools.partial[Any]) -> None:
        self._say("partial")
        self._all((value.func, value.args, dict(sorted(value.keywords.items()))))

    def _method(self, value: types.MethodType) -> None:
        self._say("method")
        self._all((value.__func__, value.__self__))

    def _builtin(self, value: types.BuiltinFunctionType) -> None:
        self._say("builtin", value.__name__, getattr(value, "__module__", ""))
        if not isinstance(value.__self__, types.ModuleType | None):
            self.see(value.__self__)

    def _function(self, value: types.FunctionType) -> None:
        self._say("function", value.__qualname__)
        self._all((value.__defaults__, value.__kwdefaults__))
        self._all(_content(cell) for cell in value.__closure__ or ())
        if _installed(value.__module__):
            self._say(value.__module__, _version(value.__module__))
        else:
            self._code(value.__code__, value.__globals__)

    def _code(self, code: types.CodeType, globals_: dict[str, Any]) -> None:
        self._say("code", code.co_code.hex(), code.co_argcount, code.co_flags)
        self._all((code.co_names, code.co_varnames, code.co_freevars))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant, globals_)
            else:
                self.see(constant)
        for name in code.co_names:
            found = globals_.get(name, sys.modules.get(name))
            if isinstance(found, types.ModuleType):
                self._module(found, code.co_names)
            elif name in globals_:
                self.see(found)

    def _module(self, module: types.ModuleType, names: Iterable[str] = ()) -> None:
        """A module counts by its version, one of the user's by what is used of it."""
        self._say("module", module.__name__)
        if _installed(module.__name__):
            self._say(_version(module.__name__))
        else:
            used = [name for name in names if name in vars(module)]
            self._all(vars(module)[name] for name in used)

    def _class(self, value: type[Any]) -> None:
        self._say("class", value.__module__, value.__qualname__)
        if _installed(value.__module__):
            self._say(_version(value.__module__))
            return
        self._all(value.__bases__)
        for name, inner in sorted(vars(value).items()):
            if name not in SKIPPED and not isinstance(inner, SLOTS):
                self._say(name)
                self.see(inner)

    def _wrapped(self, value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> None:
        self._say(type(value).__name__)
        self.see(value.__func__)

    def _property(self, value: property) -> None:
        self._all((value.fget, value.fset, value.fdel))

    def _variable(self, value: contextvars.ContextVar[Any]) -> None:
        """What is set while something goes on counts by its name."""
        self._say("context", value.name)

    def _object(self, value: Any) -> None:
        """Any other object: how it would be built again."""
        try:
            how = value.__reduce_ex__(4)
        except Exception as error:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise NoFingerprintError(f"a {kind} has no content to compare") from error
        self._say("object")
        self.see(type(value))
        self._all(list(part) if hasattr(part, "__next__") else part for part in _parts(how))

    _LOOKS: ClassVar[tuple[tuple[Any, Callable[[Any, Any], None]], ...]] = (
        ((list, tuple), _sequence),
        ((set, frozenset), _set),
        ((dict, types.MappingProxyType), _mapping),
        ((np.ndarray, np.generic), _array),
        (Path, _path),
        (functools.partial, _partial),
        (types.MethodType, _method),
        (types.BuiltinFunctionType, _builtin),
        (types.FunctionType, _function),
        (types.ModuleType, _module),
        (type, _class),
        ((staticmethod, classmethod), _wrapped),
        (property, _property),
        (contextvars.ContextVar, _variable),
    )


def _parts(how: Any) -> tuple[Any, ...]:
    return (how,) if isinstance(how, str) else tuple(how)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return "empty"


@functools.cache
def _installed(module: str | None) -> bool:
    """Whether a module's code is the standard library's or was installed."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names:
        return True
    files = (getattr(sys.modules.get(name or ""), "__file__", None) for name in (module, top))
    file = next(filter(None, files), None)
    return file is not None and any(Path(file).is_relative_to(folder) for folder in INSTALLED)


@functools.cache
def _version(module: str) -> str:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return ""
    known = getattr(sys.modules.get(top), "__version__", None)
    try:
        return str(known or importlib.metadata.version(top))
    except importlib.metadata.PackageNotFoundError:
        return ""
