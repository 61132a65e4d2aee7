"""Frames that stand in for the user's: our call looks as if the user's own line had made it.

A warning names the line that called, by looking at the stack. Where we call a function in the
user's place, a stand-in between us and the function has the file, the line and the module of the
user's frame, so that the warning, and whether it was shown before, are as without us.
"""

from __future__ import annotations

import functools
from types import CodeType, FrameType, FunctionType
from typing import Any

STAND_IN = "nomagic stands in"
"""The code name of stand-ins, by which tracebacks and our own stack walks leave them out."""


def _call(func: Any, args: Any, kwargs: Any) -> Any: return func(*args, **kwargs)  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _code(file: str, line: int) -> CodeType:
    return _call.__code__.replace(co_filename=file, co_firstlineno=line, co_name=STAND_IN)


def call_as(frame: FrameType, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function as if from the line where this frame stands."""
    code = _code(frame.f_code.co_filename, frame.f_lineno)
    return FunctionType(code, frame.f_globals)(func, args, kwargs)
