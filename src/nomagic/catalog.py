"""Every file below practices/ is a practice: load, find, select. There is no list to edit.

A practice is its file: the name is the file's, the category is the folder's, the first line of
the docstring is the claim and the rest its text. ``SOURCES`` names where it comes from. The
parameters of ``check``, where there is one, say by their types which probes it needs, and so do
those of ``show``, which draws the evidence. ``apply``, where there is one, is the trick, and
``PROMISE`` the published effect that it is held against.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, cast

import nomagic.practices
from nomagic.config import nearest
from nomagic.probes.probe import Probe
from nomagic.sources import SOURCES
from nomagic.words import Apply, Check, Practice, Promise, Show


class CatalogError(Exception):
    """A file below practices/ is not a practice: says which, on what line, and why."""


class UnknownPracticeError(LookupError):
    """A name that no practice has: says so, with the nearest name."""


@functools.cache
def load() -> tuple[Practice, ...]:
    """Every practice, by category and name. Imports no torch."""
    return load_package(nomagic.practices)


def load_package(package: ModuleType) -> tuple[Practice, ...]:
    """Every module in the folders of a package, as a practice."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    modules = [importlib.import_module(module.name) for module in found if not module.ispkg]
    practices: dict[str, Practice] = {}
    for module in modules:
        practice = _practice(module, package.__name__)
        if practice.name in practices:
            other = practices[practice.name].category
            raise CatalogError(f"{_at(module)}: {other}/ has a practice of this name, too")
        practices[practice.name] = practice
    return tuple(practices.values())


def titles() -> dict[str, str]:
    """Each category with its title, the docstring of its folder."""
    folders = pkgutil.iter_modules(nomagic.practices.__path__, f"{nomagic.practices.__name__}.")
    modules = [importlib.import_module(folder.name) for folder in folders if folder.ispkg]
    return {
        module.__name__.rpartition(".")[2]: inspect.cleandoc(module.__doc__ or "").rstrip(".")
        for module in modules
    }


def find(name: str, practices: Sequence[Practice] | None = None) -> Practice:
    """Return the practice of this name; an unknown name raises with the nearest one."""
    known = {practice.name: practice for practice in (load() if practices is None else practices)}
    if name not in known:
        raise UnknownPracticeError(f"there is no practice {name!r}{nearest(name, known)}")
    return known[name]


def select(
    practices: Sequence[Practice], select: Iterable[str] = (), skip: Iterable[str] = ()
) -> tuple[Practice, ...]:
    """The practices that are selected (all, if none is named) and not skipped."""
    chosen = {find(name, practices) for name in select} or set(practices)
    left = chosen - {find(name, practices) for name in skip}
    return tuple(practice for practice in practices if practice in left)


def _practice(module: ModuleType, root: str) -> Practice:
    *folders, stem = module.__name__.removeprefix(f"{root}.").split(".")
    if len(folders) != 1:
        raise CatalogError(f"{_at(module)}: a practice lies in the folder of its category")
    claim, _, text = inspect.cleandoc(module.__doc__ or "").partition("\n")
    if not claim:
        raise CatalogError(f"{_at(module)}: the docstring is missing; its first line is the claim")
    check, show = getattr(module, "check", None), getattr(module, "show", None)
    return Practice(
        name=stem.replace("_", "-"),
        category=folders[0],
        claim=claim,
        text=text.strip(),
        sources=_sources(module),
        check=check,
        needs=_needs(module, check) if check else (),
        apply=_apply(module),
        promise=_promise(module),
        show=show,
        shows=_needs(module, show) if show else (),
    )


def _sources(module: ModuleType) -> tuple[str, ...]:
    sources: tuple[str, ...] = getattr(module, "SOURCES", ())
    if not sources:
        raise CatalogError(f"{_at(module)}: SOURCES is missing; its keys are in nomagic/sources.py")
    for key in sources:
        if key not in SOURCES:
            raise CatalogError(f"{_at(module)}: unknown source {key!r}{nearest(key, SOURCES)}")
    return sources


def _needs(module: ModuleType, check: Check | Show) -> tuple[type[Any], ...]:
    line = check.__code__.co_firstlineno
    needs: list[type[Any]] = []
    for name, parameter in inspect.signature(check).parameters.items():
        kind = parameter.annotation
        if isinstance(kind, str):  # from __future__ import annotations
            kind = vars(module).get(kind, kind)
        if not (isinstance(kind, type) and issubclass(kind, Probe)):
            said = "nothing" if kind is parameter.empty else getattr(kind, "__name__", repr(kind))
            raise CatalogError(
                f"{_at(module, line)}: the parameter {name!r} of {check.__name__} is annotated "
                f"with {said}; it takes a class from nomagic.probes, which says what to watch"
            )
        needs.append(cast("type[Any]", kind))
    return tuple(needs)


def _apply(module: ModuleType) -> Apply | None:
    apply = getattr(module, "apply", None)
    if apply is None:
        return None
    names = list(inspect.signature(apply).parameters)
    if names != ["setup", "glimpse"] or not inspect.isgeneratorfunction(apply):
        line = apply.__code__.co_firstlineno
        kind = "yields" if inspect.isgeneratorfunction(apply) else "returns"
        raise CatalogError(
            f"{_at(module, line)}: apply takes ({', '.join(names)}) and {kind}; it must take "
            "(setup: Setup, glimpse: Glimpse) and yield an Arm, a Proof or a NotApplicable"
        )
    return apply


def _promise(module: ModuleType) -> Promise | None:
    promise = getattr(module, "PROMISE", None)
    if promise is None:
        return None
    if not isinstance(promise, Promise):
        kind = type(promise).__name__
        raise CatalogError(f"{_at(module)}: PROMISE is {kind}; it must be a Promise")
    if promise.source not in SOURCES:
        hint = nearest(promise.source, SOURCES)
        raise CatalogError(f"{_at(module)}: unknown source {promise.source!r} of PROMISE{hint}")
    return promise


def _at(module: ModuleType, line: int = 1) -> str:
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    return f"{module.__file__}:{line}: {name}"
