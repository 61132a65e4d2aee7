"""Where finished runs are kept: one SQLite file that several processes may share.

A run is known by what it depends on (see `nomagic.trial.fingerprint`) and its seed, and is written
as soon as it is over. Who wants to train a run claims it first; a claim lapses when its process is
gone or its lease is over, and then somebody else may take it. Columns hold JSON; nothing read from
the file is executed.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nomagic.engine.plan import Outcome

VERSION = 1
LEASE = 600.0
"""Seconds that a claim holds at least, if its process cannot be asked."""
PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""
TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    setup TEXT NOT NULL, seed INTEGER NOT NULL, outcome TEXT NOT NULL, finished REAL NOT NULL,
    PRIMARY KEY (setup, seed)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    setup TEXT NOT NULL, seed INTEGER NOT NULL, host TEXT NOT NULL, process INTEGER NOT NULL,
    owner TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (setup, seed)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (name TEXT PRIMARY KEY, plan TEXT NOT NULL) WITHOUT ROWID;
"""


class StoreError(Exception):
    """A store that cannot be used: says which file, and why."""


@dataclass(frozen=True, slots=True)
class Me:
    """Who claims: a process on a machine, and one store in it."""

    host: str
    process: int
    owner: str


class Store:
    """Finished runs and plans, in a file or, without one, in memory.

    Raises:
        StoreError: the file cannot be opened, or is something else.
    """

    def __init__(self, file: Path | str | None = None) -> None:
        self.file = str(file) if file else ":memory:"
        self.kept = bool(file)
        self.me = Me(socket.gethostname(), os.getpid(), uuid.uuid4().hex)
        try:
            self._base = sqlite3.connect(self.file, timeout=PATIENCE, isolation_level=None)
            self._prepare()
        except sqlite3.Error as error:
            raise StoreError(f"{self.file} cannot be used as a store: {error}") from error

    def _prepare(self) -> None:
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version not in (0, VERSION) or (not version and tables):
            raise StoreError(
                f"{self.file} is a database of something else, or of another version of nomagic; "
                "name another file with --store"
            )
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        with self._writing():
            for statement in TABLES.split(";"):
                self._base.execute(statement)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Give back all claims and close the file."""
        with self._writing():
            self._base.execute("DELETE FROM claims WHERE owner = ?", (self.me.owner,))
        self._base.close()

    # -- runs -----------------------------------------------------------------------------------

    def runs(self, setup: str, seeds: Iterable[int]) -> dict[int, Outcome]:
        """The finished runs of a setup among these seeds."""
        wanted = set(seeds)
        rows = self._base.execute("SELECT seed, outcome FROM runs WHERE setup = ?", (setup,))
        return {seed: Outcome(**json.loads(text)) for seed, text in rows if seed in wanted}

    def count(self) -> int:
        """How many finished runs there are."""
        return self._base.execute("SELECT count(*) FROM runs").fetchone()[0]

    def save(self, setup: str, outcomes: Sequence[Outcome]) -> None:
        """Keep finished runs and give back their claims; the first of two equal runs stays."""
        now = time.time()
        with self._writing():
            self._base.executemany(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?)",
                [(setup, one.seed, json.dumps(asdict(one)), now) for one in outcomes],
            )
            self._release(setup, [one.seed for one in outcomes])

    def claim(self, setup: str, seeds: Sequence[int], seconds: float = 0.0) -> list[int]:
        """Those of the seeds that are neither finished nor somebody's; they are now ours.

        ``seconds`` is how long training them is expected to take.
        """
        lease = max(LEASE, 5 * seconds) if math.isfinite(seconds) else LEASE
        now = time.time()
        with self._writing():
            done = self._base.execute("SELECT seed FROM runs WHERE setup = ?", (setup,))
            taken = {seed for (seed,) in done} | set(self._claimed(setup, now))
            ours = [seed for seed in seeds if seed not in taken]
            self._base.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (setup, seed, self.me.host, self.me.process, self.me.owner, now + lease)
                    for seed in ours
                ],
            )
        return ours

    def _claimed(self, setup: str, now: float) -> Iterable[int]:
        rows = self._base.execute(
            "SELECT seed, host, process, until FROM claims WHERE setup = ?", (setup,)
        )
        for seed, host, process, until in rows:
            if until > now and (host != self.me.host or _alive(process)):
                yield seed

    def release(self, setup: str, seeds: Iterable[int]) -> None:
        """Give back claims of ours on runs that were not finished."""
        with self._writing():
            self._release(setup, seeds)

    def _release(self, setup: str, seeds: Iterable[int]) -> None:
        self._base.executemany(
            "DELETE FROM claims WHERE setup = ? AND seed = ? AND owner = ?",
            [(setup, seed, self.me.owner) for seed in seeds],
        )

    # -- plans ----------------------------------------------------------------------------------

    def plan(self, name: str) -> dict[str, Any] | None:
        """The plan that was stored under this name."""
        row = self._base.execute("SELECT plan FROM plans WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def keep(self, name: str, plan: dict[str, Any]) -> dict[str, Any]:
        """Store a plan unless there is one; the plan that holds from now on."""
        with self._writing():
            self._base.execute(
                "INSERT OR IGNORE INTO plans VALUES (?, ?)", (name, json.dumps(plan))
            )
        found = self.plan(name)
        return plan if found is None else found

    @contextmanager
    def _writing(self) -> Generator[None]:
        """One transaction; another process that writes is waited for."""
        if self._base.in_transaction:  # Ctrl-C came between two lines
            self._base.execute("ROLLBACK")
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")


def _alive(process: int) -> bool:
    """Whether a process of this machine still runs; True where that cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
