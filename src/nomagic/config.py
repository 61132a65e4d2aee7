"""What the user chose: the options of a check, and ``[tool.nomagic]`` in pyproject.toml."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType


class ConfigError(ValueError):
    """The configuration file says something that we do not understand."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to check: which practices, how many steps, and what it may cost.

    ``select`` empty means every practice; ``overhead`` is a share of the run time.
    """

    select: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    steps: int | None = None
    experiments: bool = True
    overhead: float = 0.05


class Settings(Struct, rename="kebab"):
    """The keys that ``[tool.nomagic]`` may hold, with their types."""

    select: list[str] | UnsetType = UNSET
    skip: list[str] | UnsetType = UNSET
    fail_on: Literal["fault", "warning"] | UnsetType = UNSET
    steps: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    experiments: bool | UnsetType = UNSET
    overhead: Annotated[float, Meta(gt=0, le=1)] | UnsetType = UNSET
    no_html: bool | UnsetType = UNSET


def read(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find ``[tool.nomagic]`` in the nearest pyproject.toml, from a folder upward, that has one.

    Returns the file, and what it sets under Python names (``fail_on``), their types checked.
    """
    folder = folder.absolute()
    for parent in (folder, *folder.parents):
        file = parent / "pyproject.toml"
        if file.is_file() and (table := _table(file)) is not None:
            return file, _checked(table, f"{file}: [tool.nomagic]")
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``, did you mean zero-grad?``, or nothing when no name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


def _table(file: Path) -> Any:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from error
    tool: Any = document.get("tool")
    return tool.get("nomagic") if isinstance(tool, dict) else None


def _checked(table: Any, where: str) -> dict[str, Any]:
    known = [field.encode_name for field in msgspec.structs.fields(Settings)]
    for key in table if isinstance(table, dict) else ():
        if key not in known:
            raise ConfigError(f"{where} has no key {key}{nearest(key, known) or f' ({known})'}")
    try:
        settings = msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where} {str(error).replace('`$.', '`')}") from error
    chosen = msgspec.structs.asdict(settings)
    return {key: value for key, value in chosen.items() if value is not UNSET}
