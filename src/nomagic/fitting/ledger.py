"""What a fit has decided and found, on disk, so that it goes on after a kill where it was.

Everything that hangs on the clock is decided once and kept: how many epochs fit into the budget,
which engine is fastest. Under the same decisions and seeds a fit comes to the same end, however
often it was stopped on the way.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from nomagic.engine.lasting import replace_file
from nomagic.words import Stage

VERSION = 3


class LedgerError(RuntimeError):
    """A directory that cannot be used: says why, and what to do."""


class Ledger:
    """The decisions and stages of one fit.

    Args:
        directory: where they are kept; made where it is not there.
        identity: what the fit is about; a directory with another identity is refused.

    Raises:
        LedgerError: the directory cannot be used, holds another fit, or a fit goes on in it.
    """

    def __init__(self, directory: Path, identity: dict[str, Any]) -> None:
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory / "lock")
        except OSError as error:
            raise LedgerError(f"cannot write to {directory}: {error.strerror}") from error
        self._plan = directory / "plan.json"
        kept = _read(self._plan)
        if kept and kept.get("identity") != {"version": VERSION, **identity}:
            strange = _differing(kept.get("identity", {}), {"version": VERSION, **identity})
            self.close()
            raise LedgerError(
                f"{directory.parent} holds another fit ({strange} differ); name another directory "
                "(--out), or remove this one"
            )
        self._decided: dict[str, Any] = kept.get("decided", {})
        self._identity = {"version": VERSION, **identity}
        self._write()

    def close(self) -> None:
        """Let others use the directory."""
        os.close(self._lock)

    def decide(self, name: str, make: Callable[[], Any]) -> Any:
        """What was decided under this name, or what ``make`` says now (as JSON takes it)."""
        if name not in self._decided:
            self._decided[name] = json.loads(json.dumps(make()))
            self._write()
        return copy.deepcopy(self._decided[name])

    def known(self, name: str) -> Any:
        """What was decided under this name, or None."""
        return copy.deepcopy(self._decided.get(name))

    def _write(self) -> None:
        whole = {"identity": self._identity, "decided": self._decided}
        self._replace(self._plan, json.dumps(whole, indent=1))

    def _replace(self, file: Path, text: str) -> None:
        try:
            replace_file(file, text.encode())
        except OSError as error:
            raise LedgerError(
                f"cannot write {file}: {error.strerror}; what was written before is kept: make "
                "room and run the same command again"
            ) from error

    def file(self, name: str) -> Path:
        """A file beside the decisions, for checkpoints and stores."""
        return self.directory / name

    def stage(self, name: str) -> Stage | None:
        """A stage that was finished before."""
        kept = _read(self._stage(name))
        return msgspec.convert(kept, Stage) if kept else None

    def keep(self, stage: Stage) -> Stage:
        """Keep a finished stage; as it will be read again."""
        self._replace(self._stage(stage.name), json.dumps(asdict(stage), default=_plain, indent=1))
        again = self.stage(stage.name)
        assert again is not None, "it was just written"
        return again

    def _stage(self, name: str) -> Path:
        return self.directory / "stages" / f"{name}.json"

    def forget(self, names: Iterable[str]) -> None:
        """Forget these stages, what was decided for them and their files, so that they run anew."""
        for name in names:
            self._stage(name).unlink(missing_ok=True)
            mine = [key for key in self._decided if key.split(".")[0] == name]
            for key in mine:
                del self._decided[key]
            for place in self.directory.glob(f"{name}*"):
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        self._write()


def _plain(value: Any) -> str | float:
    """A file within a stage as letters, as msgspec reads it; a number of numpy as one."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else float(value)


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LedgerError(f"cannot read {file} ({error}); remove it and start again") from error


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    names = sorted({*one, *other})
    return ", ".join(name for name in names if one.get(name) != other.get(name))


def _locked(file: Path) -> int:
    """An open file that no other process can lock; the lock ends with the process."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        import fcntl
    except ImportError:
        return opened
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(opened)
        raise LedgerError(
            f"another fit goes on in {file.parent.parent}; wait for it, or name another directory "
            "(--out)"
        ) from error
    return opened
