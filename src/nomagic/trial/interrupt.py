"""Ctrl-C, remembered: what is raised inside a callback, such as those of a fork, gets lost."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType

FORKING = "popen_fork.py"
"""The file of `multiprocessing` that forks."""


class Interrupt(AbstractContextManager["Interrupt"]):
    """Hears Ctrl-C while it is on, if Python's own handler would; worker processes ignore it."""

    def __init__(self) -> None:
        self.heard = False
        self._process = os.getpid()
        self._ours = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise what was lost."""
        if self.heard:
            raise KeyboardInterrupt

    def _hear(self, _number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            self.heard = True
            if not _forks(frame):
                raise KeyboardInterrupt


def _forks(frame: FrameType | None) -> bool:
    """Whether a process is being forked: what its callbacks raise is printed and dropped."""
    while frame is not None:
        if frame.f_code.co_filename.endswith(FORKING):
            return True
        frame = frame.f_back
    return False
