"""What is shown while something runs: a picture that changes on a terminal, lines in a pipe."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from rich.console import Console
from rich.live import Live


class Progress(AbstractContextManager["Progress"]):
    """A stream, and what changes on it where it is a terminal (else None)."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self._live = (
            Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
