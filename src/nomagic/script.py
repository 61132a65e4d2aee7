"""Run a user's script so that it cannot tell.

What holds (each is tested against ``python script.py`` itself):

- ``sys.argv``, ``sys.path[0]`` and the module ``__main__`` are what python makes of them, for a
  script, a folder or zip file with a ``__main__.py``, and ``-m package.module``.
- An uncaught exception is printed by the script's own ``sys.excepthook``, without our frames.
- ``__main__`` stays after the run: its classes can be pickled, its functions find their globals.
  `restore`, or leaving `running`, gives everything back.
- A child that the script forks by hand ends like the script and never comes back to us.

What a script can still see: the frames below its own (``sys._getframe``), and what is in
``sys.modules`` already.
"""

from __future__ import annotations

import atexit
import difflib
import importlib.machinery
import inspect
import os
import pkgutil
import runpy
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any, NoReturn

from nomagic.frames import STAND_IN
from nomagic.words import Ending

_OURS = tuple(f"nomagic.{name}." for name in ("script", "checking", "taps", "probes", "frames"))
"""Modules whose frames are taken out of tracebacks: they stand between the user's own."""

_KEPT = (  # of sys, given back after the run
    *("argv", "orig_argv", "path", "stdin", "stdout", "stderr", "excepthook"),
    *("last_exc", "last_type", "last_value", "last_traceback"),
)

# What `python -m` itself calls. Its frames are part of python's tracebacks, and unlike
# `runpy.run_module` it runs in the ``__main__`` that is there and does not empty it.
_run_as_main: Callable[[str, bool], object] = getattr(runpy, "_run_module_as_main")  # noqa: B009


class ScriptError(Exception):
    """The script cannot be started: what came, what was expected, what to do.

    For a syntax error in the script the message is what python would print.
    """

    code = 2


class Stop(BaseException):
    """Raised in the script to end it cleanly, ``finally`` blocks included; exit code 0."""


@dataclass(frozen=True, slots=True)
class Program:
    """What the user asked to run: ``path args…``, or ``-m module args…``.

    ``path`` is as it was typed; for a module it is the module's file.
    """

    path: str
    args: tuple[str, ...]
    module: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program that was found and that compiles.

    ``file`` is the source that becomes ``__main__``, ``entry`` what python would put first on
    ``sys.path`` (None: nothing). Without ``code`` python's own `runpy` compiles and runs it.
    """

    program: Program
    file: str
    entry: str | None
    code: CodeType | None = None

    @property
    def folder(self) -> str:
        """Where the program's own source lies."""
        return str(Path(self.file).parent)


# ---- load --------------------------------------------------------------------------------------


def load(path_or_module: str, args: Sequence[str], *, as_module: bool = False) -> Loaded:
    """Find and compile a script, folder, zip file or (``as_module``) module, and run nothing."""
    program = Program(path_or_module, tuple(args), path_or_module if as_module else "")
    if as_module:
        return _load_module(program)
    importer = pkgutil.get_importer(path_or_module)
    return _load_script(program) if importer is None else _load_folder(program, importer)


def _load_script(program: Program) -> Loaded:
    file = _absolute(program.path)
    try:
        source = Path(file).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScriptError(f"can't open {file!r}: {reason}.{_advice(program.path)}") from error
    if file.endswith(".ipynb"):
        raise ScriptError(
            f"{program.path!r} is a notebook, expected a Python script: save it as a script "
            "(jupyter nbconvert --to script), or write `with nomagic.check():` in a cell"
        )
    code = _compile(source, file)
    entry = None if sys.flags.safe_path else str(Path(file).resolve().parent)
    return Loaded(program, file, entry, code)


def _load_folder(program: Program, importer: Any) -> Loaded:
    entry = _absolute(program.path)
    spec = importer.find_spec("__main__")
    if spec is None:
        raise ScriptError(
            f"can't find '__main__' module in {entry!r}: to run a folder or zip file it must "
            f"have a __main__.py; otherwise name the script inside it"
        )
    source = spec.loader.get_source("__main__")
    _compile(source or "", spec.origin, quiet=True)
    return Loaded(program, spec.origin, entry)


def _load_module(program: Program) -> Loaded:
    entry = None if sys.flags.safe_path else str(Path.cwd())
    with _search(entry):
        name, spec = _runnable(program.module)
    source = spec.loader.get_source(name) if hasattr(spec.loader, "get_source") else None
    _compile(source or "", spec.origin or name, quiet=True)
    file = spec.origin or ""
    return Loaded(Program(file, program.args, program.module), file, entry)


def _runnable(name: str) -> tuple[str, Any]:
    """The module that ``-m name`` runs, and its spec: that of ``name.__main__`` for a package."""
    spec = _find(name)
    if spec is None:
        raise ScriptError(f"no module named {name!r}.{_module_advice(name)}")
    if spec.submodule_search_locations is None:
        return name, spec
    inside = f"{name}.__main__"
    spec = _find(inside)
    if spec is None:
        raise ScriptError(
            f"no module named {inside!r}: {name!r} is a package, and running a package needs a "
            "__main__.py in it; otherwise name the module inside it"
        )
    return inside, spec


def _find(name: str) -> Any:
    """The spec of a module, without importing the packages above it: they are the user's code."""
    spec, path = None, None
    if not all(name.split(".")):
        return None
    for part in accumulate(name.split("."), "{}.{}".format):
        if spec is not None and path is None:
            return None  # a plain module has nothing inside
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        specs = (finder.find_spec(part, path) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def _compile(source: bytes | str, file: str, *, quiet: bool = False) -> CodeType:
    """Compile as python does; ``quiet`` where python will compile again and warn then."""
    try:
        with warnings.catch_warnings() if quiet else ExitStack():
            if quiet:
                warnings.simplefilter("ignore")
            return compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        text = "".join(traceback.format_exception_only(error)).rstrip("\n")
        if not getattr(error, "filename", None):  # null bytes: python names no file
            text = f"  File {file!r}\n{text}"
        if not file.endswith(".py"):
            text += f"\n{file!r} does not read as Python: expected a script such as train.py"
        raise ScriptError(text) from error


def _absolute(path: str) -> str:
    """The path as python >= 3.9 writes it in ``__file__``: absolute, but not tidied up."""
    if Path(path).is_absolute():
        return path
    return str(Path.cwd()) if path == "." else f"{Path.cwd()}{os.sep}{path}"


def _advice(path: str) -> str:
    asked = Path(path)
    with suppress(OSError):
        scripts = [file.name for file in asked.parent.glob("*.py")]
        for name in (asked.name, f"{asked.name}.py"):
            for near in difflib.get_close_matches(name, scripts, 1):
                return f" Did you mean {str(asked.with_name(near))!r}?"
    return " Expected the path of a Python script; a module is run with -m package.module"


def _module_advice(name: str) -> str:
    if name.endswith(".py") or os.sep in name:
        return " Expected a name such as package.module; a file is run without -m"
    return f" Looked in {str(Path.cwd())!r} and on sys.path: start from the folder that holds it"


# ---- run ---------------------------------------------------------------------------------------

_standing = ExitStack()


def run(loaded: Loaded) -> Ending:
    """Run a program as ``__main__`` and say how it ended; never raises.

    What python prints on an uncaught exception has been printed. The program's world
    (``__main__``, ``sys.argv``, ``sys.path``…) stays until `restore`.
    """
    return _run(loaded, _standing)


def restore() -> None:
    """Give back everything that `run` and the scripts it ran have changed here."""
    _standing.close()


@contextmanager
def running(loaded: Loaded) -> Generator[Ending]:
    """`run`, then a block in which the program's world still stands, then `restore` it."""
    with ExitStack() as undo:
        yield _run(loaded, undo)


def _run(loaded: Loaded, undo: ExitStack) -> Ending:
    process, threads = os.getpid(), set(threading.enumerate())
    _enter(loaded, undo)
    error = _execute(loaded)
    try:
        if loaded.code is not None:
            _flush()  # python does so before the traceback, for a script only
        ending = _end(error)
        _join(threads)
    except KeyboardInterrupt:
        ending = Ending("interrupted", 130, "KeyboardInterrupt")
    if os.getpid() != process:
        _end_child(ending.code)
    _flush()
    return ending


def _execute(loaded: Loaded) -> BaseException | None:
    """What ended the script, if anything did; not handled here, so that hooks see a clean state."""
    try:
        if loaded.code is not None:
            _from_nowhere()(exec, loaded.code, vars(sys.modules["__main__"]))
        else:
            module = loaded.program.module
            _from_nowhere()(_run_as_main, module or "__main__", bool(module))
    except BaseException as error:
        return error
    return None


def _from_nowhere() -> Callable[..., object]:
    """Calls a function from what warnings take for the place below a script's first line."""
    file, line = ("<sys>", 0) if sys.version_info >= (3, 13) else ("sys", 1)
    code = _call.__code__.replace(co_filename=file, co_firstlineno=line, co_name=STAND_IN)
    return FunctionType(code, sys.__dict__)


def _call(func: Any, *args: Any) -> Any: return func(*args)  # fmt: skip


def _flush() -> None:
    for stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__):
        with suppress(Exception):
            stream.flush()  # pyright: ignore[reportOptionalMemberAccess]


def _join(before: Collection[threading.Thread]) -> None:
    """Wait, as python does at exit, for the threads that the script started.

    Pools are left alone: their threads wait for a signal that only the real exit gives.
    """
    pools = sys.modules.get("concurrent.futures.thread")
    while threads := [
        thread
        for thread in threading.enumerate()
        if not thread.daemon
        and thread not in before
        and thread not in getattr(pools, "_threads_queues", ())
        and thread is not threading.current_thread()
        and type(thread).__module__ in ("threading", "__main__")
    ]:
        threads[0].join()


def _end_child(code: int) -> NoReturn:
    """End a child that the script forked by hand: what follows a run is the parent's business."""
    with suppress(BaseException):
        getattr(threading, "_shutdown")()  # noqa: B009 (as multiprocessing does in its children)
        getattr(atexit, "_run_exitfuncs")()  # noqa: B009
    _flush()
    os._exit(code & 0xFF)


# ---- the script's world ------------------------------------------------------------------------


def _enter(loaded: Loaded, undo: ExitStack) -> None:
    """Make the process look as python makes it look for the program."""
    program = loaded.program
    for name in _KEPT:
        _keep(name, undo)
    with suppress(OSError):  # the folder may be gone; python does not mind
        undo.callback(_change_folder, Path.cwd())
    undo.enter_context(warnings.catch_warnings())
    undo.enter_context(_modules(loaded))
    undo.enter_context(_search(loaded.entry))
    undo.callback(sys.setrecursionlimit, sys.getrecursionlimit())
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth(loaded))
    command = ["-m", program.module] if program.module else [program.path]
    sys.orig_argv = [*sys.orig_argv[:1], *command, *program.args]
    sys.argv = [command[0], *program.args]
    sys.modules["__main__"] = _fresh_main(loaded)


def _fresh_main(loaded: Loaded) -> ModuleType:
    """``__main__`` as python sets it up, in its order; `runpy` adds the rest where it runs."""
    main = ModuleType("__main__")
    main.__loader__ = importlib.machinery.BuiltinImporter  # pyright: ignore[reportAttributeAccessIssue]
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    vars(main)["__builtins__"] = sys.modules["builtins"]
    if loaded.code is not None:
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", loaded.file)
        main.__file__ = loaded.file
        vars(main)["__cached__"] = None
    return main


def _keep(name: str, undo: ExitStack) -> None:
    """Give ``sys.<name>`` back when leaving, whatever became of it."""
    if hasattr(sys, name):
        undo.callback(setattr, sys, name, getattr(sys, name))
    else:
        undo.callback(sys.__dict__.pop, name, None)


def _change_folder(folder: Path) -> None:
    with suppress(OSError):
        os.chdir(folder)


def _depth(loaded: Loaded) -> int:
    """How many frames will lie below the script: it may recurse as deeply as without us."""
    frame, depth = inspect.currentframe(), 0  # this one counts for `_from_nowhere`
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    if loaded.code is not None and sys.version_info < (3, 12):
        depth += 1  # it counts our call of `exec`, too
    return depth


@contextmanager
def _search(entry: str | None) -> Generator[None]:
    """``entry`` on ``sys.path`` in the place of what python put there when it started us."""
    path, before = sys.path, sys.path[:]
    if entry is not None:
        path[: _starts_with_ours(path)] = [entry]
    try:
        yield
    finally:
        path[:] = before


def _starts_with_ours(path: list[str]) -> bool:
    """Whether ``path`` begins with what python put there to run the present ``__main__``."""
    if not path:
        return False
    main = sys.modules["__main__"]
    file: str | None = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":  # python -m
        return path[0] == str(Path.cwd())
    return path[0] == (str(Path(file).resolve().parent) if file else "")


@contextmanager
def _modules(loaded: Loaded) -> Generator[None]:
    """Let the script import what lies beside it, and forget that afterwards.

    We, or a script before it, may have imported another module of the same name.
    """
    before = dict(sys.modules)
    hidden = _hidden(loaded.entry)
    ours = {name: module for name, module in before.items() if _top(name) in hidden}
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if before.get(name) is not module and _lies_in(module, name, loaded.entry):
                del sys.modules[name]
        sys.modules.update(ours, __main__=before["__main__"])


def _hidden(entry: str | None) -> set[str]:
    """The modules in memory before which a file in ``entry`` would have come."""
    if entry is None:
        return set()
    tops = {_top(name) for name in sys.modules} - {"nomagic", "__main__"}
    return {
        name
        for name in tops
        if _offers(entry, name)
        and not _lies_in(sys.modules.get(name), name, entry)
        and importlib.machinery.BuiltinImporter.find_spec(name) is None
        and importlib.machinery.FrozenImporter.find_spec(name) is None
    }


def _offers(entry: str, name: str) -> bool:
    return Path(entry, f"{name}.py").is_file() or Path(entry, name, "__init__.py").is_file()


def _lies_in(module: ModuleType | None, name: str, entry: str | None) -> bool:
    file = getattr(module, "__file__", None)
    if entry is None or not isinstance(file, str):
        return False
    place = f"{entry.rstrip(os.sep)}{os.sep}{_top(name)}"
    return file.startswith((place + os.sep, place + "."))


def _top(name: str) -> str:
    return name.partition(".")[0]


# ---- the ending --------------------------------------------------------------------------------


def _end(error: BaseException | None) -> Ending:
    """Print what python prints at the end of a script, and say how it ended."""
    if error is None:
        return Ending()
    if _is_stop(error):
        return Ending("stopped")
    if isinstance(error, SystemExit):
        return _exit(error)
    _without_us(error)
    in_hook = _show(error)
    if isinstance(in_hook, SystemExit):
        return _exit(in_hook)
    if type(error) is KeyboardInterrupt:
        return Ending("interrupted", 130, _headline(error))
    return Ending("crashed", 1, _headline(error))


def _is_stop(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):  # asyncio.TaskGroup wraps it
        return error.split(Stop)[1] is None
    return isinstance(error, Stop)


def _exit(error: SystemExit) -> Ending:
    code = error.code
    if code is None:
        return Ending("exit")
    if isinstance(code, int):
        return Ending("exit", int(code))
    _say(f"{code}\n")
    return Ending("exit", 1, str(code))


def _show(error: BaseException) -> BaseException | None:
    """Hand the error to the script's excepthook, as python does; gives what the hook raised."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    in_hook = _call_hook(error)
    if in_hook is not None and not isinstance(in_hook, SystemExit):
        _without_us(in_hook)
        _say("Error in sys.excepthook:\n")
        sys.__excepthook__(type(in_hook), in_hook, in_hook.__traceback__)
        _say("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return in_hook


def _call_hook(error: BaseException) -> BaseException | None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException as in_hook:
        return in_hook
    return None


def _say(text: str) -> None:
    with suppress(Exception):
        (sys.stderr or sys.__stderr__).write(text)  # pyright: ignore[reportOptionalMemberAccess]


def _headline(error: BaseException) -> str:
    lines = traceback.format_exception_only(error)
    return next((line for line in lines if not line.startswith(" ")), "").strip()


def _without_us(error: BaseException) -> None:
    """Take our frames out of the traceback of an exception and of those that led to it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _strip(one.__traceback__)
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def _strip(trace: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType | None] = []
    while trace is not None:
        if not _is_ours(trace.tb_frame):
            kept.append(trace)
        trace = trace.tb_next
    kept.append(None)
    for above, below in pairwise(kept):
        if above is not None:
            above.tb_next = below
    return kept[0]


def _is_ours(frame: FrameType) -> bool:
    if frame.f_code.co_name == STAND_IN:
        return True
    return f"{frame.f_globals.get('__name__')}.".startswith(_OURS)
