"""What is shown while something runs: a picture that changes on a terminal, lines in a pipe."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nomagic.report.lines import duration


class Progress(AbstractContextManager["Progress"]):
    """A stream, and what changes on it where it is a terminal (else None)."""

    def __init__(self, out: Console, own: bool = True) -> None:
        """``own`` says that whatever is printed meanwhile goes above what changes."""
        self.out = out
        self._live = (
            Live(
                console=out, auto_refresh=False, transient=True, redirect_stdout=own,
                redirect_stderr=own,
            )
            if out.is_terminal
            else None
        )  # fmt: skip

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()


class Afterwards(Progress):
    """One line on a terminal for what comes after a script; nothing in a pipe.

    Until there is something to tell, the terminal is the script's.
    """

    def __init__(self, out: Console) -> None:
        super().__init__(out, own=False)

    def __enter__(self) -> Self:
        return self

    def tell(self, what: str, left: float | None = None) -> None:
        """What goes on now, and the seconds that it takes at most."""
        if self._live:
            most = "" if left is None else f" · at most {duration(max(0.0, left))} left"
            line = Text(f"nomagic · {what}{most}", "dim", no_wrap=True, overflow="ellipsis")
            self._live.start()
            self._live.update(line, refresh=True)
