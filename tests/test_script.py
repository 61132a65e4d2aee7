"""The script runner against python itself: a program must look the same under both.

Each program is written to a fresh folder and run by ``python program`` and by a few lines that
call `nomagic.script`; standard output, standard error and exit code are compared.
"""

import importlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from nomagic import script
from nomagic.words import Ending

SOURCE = str(Path(script.__file__).parent.parent)

DRIVER = """\
import sys
from nomagic import script
name, *args = sys.argv[1:]
module = name == "-m"
name, *args = args if module else [name, *args]
ending = script.run(script.load(name, args, as_module=module))
sys.exit(ending.code)
"""

# ---- comparing ---------------------------------------------------------------------------------


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")


def start(folder: Path, *command: str, mixed: bool = False) -> tuple[int, str, str]:
    """Run ``python command`` in a folder; ``mixed`` sends both streams into one pipe."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=clean | {"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if mixed else subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    code = 130 if done.returncode == -signal.SIGINT else done.returncode
    return code, done.stdout, done.stderr or ""


def runner(folder: Path, driver: str = DRIVER) -> str:
    """A program that runs ours, in a folder of its own like a command that pip installs."""
    write(folder, {".bin/run.py": driver})
    return str(folder / ".bin/run.py")


def same(folder: Path, *command: str, options: tuple[str, ...] = (), driver: str = DRIVER) -> str:
    """Run a program by python and by us, insist on equality, and return what it printed."""
    ours = runner(folder, driver)
    plain = start(folder, *options, *command)
    assert start(folder, *options, ours, *command) == plain
    _, out, err = plain
    if out and err:
        mixed = start(folder, *options, *command, mixed=True)
        assert start(folder, *options, ours, *command, mixed=True) == mixed
    return out + err


# ---- what a script sees of itself --------------------------------------------------------------

SEEN = """\
    'A docstring.'
    import sys
    print([(k, v) for k, v in globals().items() if k not in ("__loader__", "__spec__")])
    print(type(__loader__), __loader__.name, __loader__.path)
    print(sys.argv, sys.path, sys.exc_info(), vars(sys.modules[__name__]) is globals())
    if __spec__:
        print(__spec__.name, __spec__.origin, __spec__.parent, type(__spec__.loader))
    if __name__ == "__main__":
        print("I am the one")
    1 / 0
"""


@pytest.mark.parametrize(
    "path",
    ["train.py", "./train.py", "sub/../train.py", ".//train.py", "link.py", "sub/other.py", "/"],
)
def test_path_of_a_script(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"train.py": SEEN, "sub/other.py": SEEN, "sub/real.py": SEEN})
    (tmp_path / "link.py").symlink_to(Path("sub", "real.py"))
    path = str(tmp_path / "train.py") if path == "/" else path
    assert "I am the one" in same(tmp_path, path, "--lr", "0.1", "-m", "x")


@pytest.mark.parametrize("path", ["sub", "sub/", "./sub", ".", "sub/.."])
def test_folder(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"sub/__main__.py": SEEN, "__main__.py": SEEN})
    assert "ZeroDivisionError" in same(tmp_path, path, "x")


def test_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
        source = textwrap.dedent(SEEN).replace("__loader__.path", "__loader__.archive")
        file.writestr("__main__.py", source.replace("__loader__.name", "__loader__.prefix"))
    assert "I am the one" in same(tmp_path, "program.zip", "x")


PACKAGE = {
    "pkg/__init__.py": "import sys; print('init', sys.argv, sys.path[0], __name__)\n",
    "pkg/helper.py": "NAME = __name__\n",
    "pkg/mod.py": "from .helper import NAME\nfrom . import helper\nprint(NAME)\n"
    + textwrap.dedent(SEEN),
    "pkg/__main__.py": "from pkg.helper import NAME\nprint(NAME, __package__)\n"
    + textwrap.dedent(SEEN),
    "pkg/imported/__init__.py": "from pkg.imported import again\n",
    "pkg/imported/again.py": "print(__name__)\n",
    "pkg/broken/__init__.py": "print('here')\n1 / 0\n",
    "pkg/broken/mod.py": "",
    "pkg/missing/__init__.py": "import a_module_that_is_not_there\n",
    "pkg/missing/mod.py": "",
    "space/mod.py": "from . import other\nprint(other.__name__)\n" + textwrap.dedent(SEEN),
    "space/other.py": "",
    "single.py": SEEN,
}


@pytest.mark.parametrize(
    "module",
    [
        *("pkg.mod", "pkg", "pkg.__main__", "pkg.imported.again"),
        *("pkg.broken.mod", "pkg.missing.mod", "space.mod", "single"),
    ],
)
def test_module(tmp_path: Path, module: str) -> None:
    write(tmp_path, PACKAGE)
    assert same(tmp_path, "-m", module, "x", "--y")


@pytest.mark.parametrize("option", ["-P", "-O", "-Werror", "-Xutf8", "-I", "-Xdev"])
@pytest.mark.parametrize("command", [("train.py",), ("-m", "site"), ("sub",)])
def test_interpreter_options(tmp_path: Path, option: str, command: tuple[str, ...]) -> None:
    seen = "import sys\nassert sys.argv, 'given'\nprint(sys.path, sys.flags, __debug__)\n"
    write(tmp_path, {"train.py": seen, "sub/__main__.py": seen})
    driver = f"""
import sys
sys.path.append({SOURCE!r})  # no PYTHONPATH under -I
from nomagic import script
sys.path.pop()
{DRIVER}"""
    assert same(tmp_path, *command, options=(option,), driver=driver)


# ---- what a script does ------------------------------------------------------------------------

PROGRAMS = {
    "nothing": "",
    "prints": "print('hello', end='')",
    "globals-are-a-module": """
        import __main__, sys
        x = 1
        print(__main__.x, vars(__main__) is globals(), sys.modules['__main__'] is __main__)
        print(__annotations__, __builtins__)
        y: int = 2
        print(__annotations__)
    """,
    "no-future-flags": """
        def f(x: int) -> "str": ...
        print(f.__annotations__)
        try:
            def g(x: not_there): ...
        except NameError as error:
            print(error)
    """,
    "own-future-flags": """
        from __future__ import annotations
        def f(x: not_there): ...
        print(f.__annotations__)
    """,
    "command": "import sys; print(sys.argv, sys.orig_argv)",
    "pickle": """
        import copy, pickle
        from dataclasses import dataclass
        @dataclass
        class Row:
            x: "int"
            class Inner: ...
        def double(x): return 2 * x
        data = pickle.dumps([Row(3), Row, Row.Inner, double])
        print(data, pickle.loads(data)[0], copy.deepcopy(Row(4)))
        import typing
        print(typing.get_type_hints(Row))
    """,
    "source": """
        import inspect, linecache
        def f():
            return 1  # a comment
        class C:
            x = 1
        print(inspect.getsource(f), inspect.getsource(C), inspect.getsourcefile(f))
        print(repr(linecache.getline(__file__, 3)), inspect.getmodule(f))
    """,
    "imports-its-sibling": "import helper; print(helper.__file__, helper.__name__)",
    "sibling-comes-before-ours": """
        import difflib, words
        print(difflib.MINE, difflib.__file__, words.MINE)
        import os, posixpath, textwrap
        print(textwrap.__file__, os.__file__, posixpath.os is os)
    """,
    "changes-folder": """
        import os
        os.mkdir('elsewhere'); os.chdir('elsewhere')
        print(__file__, os.getcwd())
        os.rmdir(os.getcwd())
        1 / 0
    """,
    "reads-stdin": "import sys; print(repr(sys.stdin.read()))",
    "warns": """
        import warnings
        warnings.warn('plain')
        warnings.warn('old', DeprecationWarning)
        def f(): warnings.warn('from a function', stacklevel=2)
        f()
        f()
        for _ in range(2): warnings.warn('from nowhere', stacklevel=4 if __spec__ else 2)
        x = 1
        if x is 1: print(x)
        warnings.simplefilter('ignore')
        warnings.warn('no')
    """,
    "asyncio": """
        import asyncio
        async def main():
            await asyncio.sleep(0)
            return await asyncio.to_thread(lambda: 5)
        print(asyncio.run(main()))
    """,
    "goes-deep": """
        def depth(n):
            try: return depth(n + 1)
            except RecursionError: return n
        print(depth(0))
    """,
    "recurses-for-ever": "def f(): f()\nf()",
    # endings
    "exit-none": "import sys; print(1); sys.exit()",
    "exit-zero": "import sys; sys.exit(0)",
    "exit-code": "import sys; print(1); sys.exit(3)",
    "exit-true": "import sys; sys.exit(True)",
    "exit-negative": "import sys; sys.exit(-1)",
    "exit-big": "import sys; sys.exit(1000)",
    "exit-message": "import sys; print('first'); sys.exit('a message')",
    "exit-tuple": "raise SystemExit(1, 2)",
    "exit-subclass": "class E(SystemExit): ...\nraise E(4)",
    "exit-builtin": "exit(5)",
    "exit-in-finally": "import sys\ntry: 1 / 0\nfinally: sys.exit(6)",
    "exit-hard": "import os; print('lost in the buffer'); os._exit(7)",
    "raises": "print('out'); def f(): 1 / 0\nf()".replace("; def", "\ndef"),
    "raises-from": """
        def f():
            try: 1 / 0
            except ZeroDivisionError as error: raise ValueError('bad') from error
        try: f()
        except ValueError: {}['x']
    """,
    "raises-from-none": "try: 1 / 0\nexcept ZeroDivisionError: raise ValueError('bad') from None",
    "raises-with-note": "e = ValueError('bad'); e.add_note('a note\\n second line'); raise e",
    "raises-group": """
        def one():
            try: 1 / 0
            except ZeroDivisionError as error: return error
        raise ExceptionGroup('some', [one(), ValueError(2), ExceptionGroup('in', [one()])])
    """,
    "raises-odd": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
    "raises-base": "class E(BaseException): ...\nraise E('base')",
    "imports-broken": "import broken",
    "assertion": "assert 1 == 2, 'not equal'",
    "chained-by-itself": """
        a = ValueError('a'); b = ValueError('b')
        a.__context__ = b; b.__cause__ = a
        raise a
    """,
    "interrupt": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('no')",
    "interrupt-raised": "def f(): raise KeyboardInterrupt\nf()",
    "interrupt-subclass": "class K(KeyboardInterrupt): ...\nraise K('mine')",
    "interrupt-handled": """
        import os, signal
        try: os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt: print('caught')
    """,
    "own-signal-handler": """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        os.kill(os.getpid(), signal.SIGTERM)
    """,
    # hooks
    "excepthook": """
        import sys, traceback
        def hook(kind, error, trace):
            print('hook', kind, error, traceback.extract_tb(trace), sys.exc_info())
            print(sys.last_type, sys.last_value is error, sys.last_traceback is trace)
            print(error.__traceback__ is trace, error.__context__)
        sys.excepthook = hook
        {}['x']
    """,
    "excepthook-raises": """
        import sys
        def hook(*_): raise ValueError('in the hook')
        sys.excepthook = hook
        1 / 0
    """,
    "excepthook-exits": "import sys\nsys.excepthook = lambda *_: sys.exit(8)\n1 / 0",
    "excepthook-is-none": "import sys\nsys.excepthook = None\n1 / 0",
    "atexit": """
        import atexit, pickle, sys
        class C: ...
        def late():
            print(sys.argv, __name__, pickle.loads(pickle.dumps(C)) is C, sys.path[0])
            print(sys.last_value)
        atexit.register(late)
        print('early')
        1 / 0
    """,
    "destructor": "class D:\n    def __del__(self): print('gone', __name__)\nd = D()",
    # streams
    "unflushed": "import sys\nsys.stdout.write('a'); sys.stderr.write('b'); sys.stdout.write('c')",
    "binary": "import sys\nsys.stdout.buffer.write(b'\\xff'.hex().encode()); print('text')",
    "replaces-stdout": "import sys, io\nsys.stdout = io.StringIO(); print('lost'); 1 / 0",
    "replaces-stderr": "import sys, io\nsys.stderr = io.StringIO(); 1 / 0",
    "no-stderr": "import sys\nsys.stderr = None; sys.exit('message')",
    "broken-pipe": """
        import os
        read, write = os.pipe()
        os.dup2(write, 1); os.close(read); os.close(write)
        print('to nobody')
    """,
    "closes-stdout": "import sys\nsys.stdout.close()",
    # threads and processes
    "exit-in-thread": """
        import sys, threading
        t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()
        print(threading.current_thread() is threading.main_thread())
    """,
    "thread-raises": """
        import threading
        def f(): 1 / 0
        t = threading.Thread(target=f); t.start(); t.join()
    """,
    "thread-outlives": """
        import atexit, threading, time
        def f(): time.sleep(0.2); print('late')
        atexit.register(print, 'at exit')
        threading.Thread(target=f).start()
        print('end')
    """,
    "pool-left-open": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        print(pool.submit(pow, 2, 3).result())
    """,
    "fork-by-hand": """
        import atexit, os, sys
        atexit.register(lambda: print('exit', parent != os.getpid()))
        parent = os.getpid()
        if os.fork():
            _, status = os.wait()
            print('parent', os.waitstatus_to_exitcode(status))
        else:
            print('child')
            sys.exit(3)
    """,
    "fork-by-hand-raises": """
        import os
        if os.fork():
            print('parent', os.waitstatus_to_exitcode(os.wait()[1]))
        else:
            1 / 0
    """,
}

SIBLINGS = {
    "helper.py": "",
    "broken.py": "def f(:\n",
    "difflib.py": "MINE = True\n",  # imported by our module, and by plain python only when asked
    "words.py": "MINE = True\n",
    "os.py": "raise SystemExit('python never looks here')\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(tmp_path: Path, name: str) -> None:
    write(tmp_path, SIBLINGS | {"train.py": PROGRAMS[name]})
    same(tmp_path, "train.py", "--epochs", "3")


@pytest.mark.parametrize(
    "name",
    ["raises-from", "interrupt", "excepthook", "exit-message", "atexit", "warns", "goes-deep"],
)
@pytest.mark.parametrize("command", [("-m", "pkg.train"), ("folder",)])
def test_program_as_a_module(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    source = PROGRAMS[name]
    write(tmp_path, SIBLINGS | {"pkg/train.py": source, "folder/__main__.py": source})
    same(tmp_path, *command, "--epochs", "3")


@pytest.mark.parametrize(
    "source",
    [
        b"#!/usr/bin/env python\n# coding: latin-1\nprint(ascii('\xe4'), '\xe4')\n1/0 # \xe4\n",
        b"\xef\xbb\xbfprint('with a BOM')\n1/0\n",
        b"print('''one\r\ntwo''')\r\n1/0\r\n",
        "print('ä €', ascii('ä €'))\n{}['ä']".encode(),
    ],
    ids=["cookie", "bom", "crlf", "utf-8"],
)
def test_encoding(tmp_path: Path, source: bytes) -> None:
    (tmp_path / "train.py").write_bytes(source)
    same(tmp_path, "train.py")


def test_script_without_py(tmp_path: Path) -> None:
    write(tmp_path, {"train": SEEN})
    assert "I am the one" in same(tmp_path, "train")


PROCESSES = """\
    import multiprocessing as mp, os, pickle, sys
    class Point:
        def __init__(self, x): self.x = x
    def work(point, queue):
        queue.put((point.x, type(point).__module__, __name__, sys.argv, os.path.basename(__file__)))
    if __name__ == "__main__":
        context = mp.get_context(sys.argv[1])
        queue = context.Queue()
        process = context.Process(target=work, args=(Point(3), queue))
        process.start()
        print(queue.get(timeout=60))
        process.join()
        print(process.exitcode)
        with context.Pool(1) as pool:
            print(pool.map(abs, [-1]), [p.x for p in pool.map(Point, [1, 2])])
        left = context.Process(target=print, args=('not joined',)); left.start()
    else:
        print('imported as', __name__, flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("command", [("train.py",), ("-m", "pkg.train")])
def test_processes(tmp_path: Path, method: str, command: tuple[str, ...]) -> None:
    write(tmp_path, {"train.py": PROCESSES, "pkg/train.py": PROCESSES})
    plain = start(tmp_path, *command, method)
    assert "(3, '__m" in plain[1]
    assert plain[0] == 0
    assert start(tmp_path, runner(tmp_path), *command, method) == plain


TORCH = """\
    import os, sys, torch
    from torch.utils.data import DataLoader, Dataset
    class Rows(Dataset):
        def __len__(self): return 4
        def __getitem__(self, i): return Row(i).x
    class Row:
        def __init__(self, i): self.x = torch.tensor([float(i)])
    class Net(torch.nn.Linear): ...
    if __name__ == "__main__":
        torch.manual_seed(0)
        for method in sys.argv[1:]:
            loader = DataLoader(Rows(), 2, num_workers=1, multiprocessing_context=method)
            print([batch.tolist() for batch in loader])
        torch.save([Net(1, 2), Rows()], "net.pt")
        net, rows = torch.load("net.pt", weights_only=False)
        print(type(net) is Net, net.weight, len(rows), os.path.getsize("net.pt"))
"""


@pytest.mark.parametrize(
    "methods", [("fork",), pytest.param(("spawn", "forkserver"), marks=pytest.mark.slow)]
)
def test_torch(tmp_path: Path, methods: tuple[str, ...]) -> None:
    write(tmp_path, {"train.py": TORCH})
    plain = start(tmp_path, "train.py", *methods)
    assert plain[1].count("[[[0.0], [1.0]], [[2.0], [3.0]]]") == len(methods)
    assert start(tmp_path, runner(tmp_path), "train.py", *methods) == plain


# ---- our side ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "module", "command", "safe"])
def test_however_we_are_started(tmp_path: Path, how: str) -> None:
    write(tmp_path, {"train.py": SEEN, "bin/start.py": DRIVER, "start.py": DRIVER})
    command = {
        "file": ["bin/start.py"],
        "module": ["-m", "start"],
        "command": ["-c", DRIVER],
        "safe": ["-P", "bin/start.py"],
    }
    options = ["-P"] if how == "safe" else []
    plain = start(tmp_path, *options, "train.py", "x")
    assert start(tmp_path, *command[how], "train.py", "x") == plain


def test_forked_child_does_not_come_back(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": PROGRAMS["fork-by-hand"]})
    driver = DRIVER.replace("sys.exit(ending.code)", "print('REPORT')")
    code, out, _ = start(tmp_path, runner(tmp_path, driver), "train.py")
    assert (code, out.count("REPORT"), out.count("parent 3")) == (0, 1, 1)


def test_what_follows_comes_after_the_script(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": PROGRAMS["thread-outlives"]})
    driver = DRIVER.replace("sys.exit(", "print('REPORT', file=sys.stderr); sys.exit(")
    _, out, _ = start(tmp_path, runner(tmp_path, driver), "train.py", mixed=True)
    assert out.split() == ["end", "late", "REPORT", "at", "exit"]


@pytest.mark.parametrize(
    "ends",
    [
        "json.loads('{')",
        "try: json.loads('{')\nexcept ValueError: {}['in the handler']",
        "try: json.loads('{')\nexcept ValueError as e: cause = e\nraise KeyError from cause",
        "try: json.loads('{')\nexcept ValueError as e: part = e\nraise ExceptionGroup('g', [part])",
    ],
)
def test_our_frames_are_not_in_tracebacks(tmp_path: Path, ends: str) -> None:
    probe = """\
        import json
        def patch(loads):
            def watched(*args):
                return loads(*args)
            return watched
        json.loads = patch(json.loads)
    """
    driver = f"exec({textwrap.dedent(probe)!r}, {{'__name__': 'nomagic.taps'}})\n{DRIVER}"
    write(tmp_path, {"train.py": f"import json\n{ends}"})
    assert "json/decoder.py" in same(tmp_path, "train.py", driver=driver)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder: Path, source: str, *args: str) -> script.Loaded:
    write(folder, {"train.py": source})
    return script.load("train.py", args)


def test_world_stands_until_given_back(here: Path) -> None:
    source = """\
        import io, os, sys, warnings, helper
        class Net:
            def forward(self): return x
        x = 5
        sys.stdout = sys.stderr = io.StringIO()
        sys.path = ['elsewhere']
        sys.excepthook = None
        warnings.simplefilter('ignore')
        os.mkdir('sub'); os.chdir('sub')
        sys.exit(3)
    """
    write(here, {"helper.py": ""})
    before = (sys.argv, sys.path, sys.stdout, sys.stderr, sys.excepthook, sys.orig_argv)

    def values() -> tuple[object, ...]:
        limit = sys.getrecursionlimit()
        return sys.path[:], dict(sys.modules), limit, Path.cwd(), warnings.filters[:]

    valued = values()
    with script.running(program(here, source, "a")) as ending:
        assert ending == Ending("exit", 3)
        main = sys.modules["__main__"]
        assert sys.argv == ["train.py", "a"]
        assert pickle.loads(pickle.dumps(main.Net())).forward() == 5
        assert "helper" in sys.modules
    after = (sys.argv, sys.path, sys.stdout, sys.stderr, sys.excepthook, sys.orig_argv)
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert values() == valued
    assert main.Net().forward() == 5


def test_run_leaves_the_world_until_restore(here: Path) -> None:
    argv, main = sys.argv, sys.modules["__main__"]
    assert script.run(program(here, "x = 1")) == Ending()
    assert sys.modules["__main__"].x == 1
    assert sys.argv == ["train.py"]
    script.restore()
    assert (sys.argv, sys.modules["__main__"]) == (argv, main)
    script.restore()
    assert sys.argv is argv


def test_world_is_given_back_after_an_error_of_ours(here: Path) -> None:
    argv = sys.argv
    with pytest.raises(ZeroDivisionError), script.running(program(here, "")):
        1 / 0  # noqa: B018
    assert sys.argv is argv


def test_run_inside_a_run(here: Path) -> None:
    write(here, {"inner/train.py": "import helper; y = helper.NAME", "inner/helper.py": "NAME = 1"})
    write(here, {"helper.py": "NAME = 2"})
    source = """\
        import sys, helper
        from nomagic import script
        with script.running(script.load('inner/train.py', ['b'])) as ending:
            inner = sys.modules['__main__'].y, sys.argv
        outer = helper.NAME, sys.modules['helper'] is helper, sys.modules['__main__'].__file__
    """
    with script.running(program(here, source)) as ending:
        main = sys.modules["__main__"]
        assert ending == Ending()
        assert main.inner == (1, ["inner/train.py", "b"])
        assert main.outer == (2, True, str(here / "train.py"))


def test_scripts_with_siblings_of_the_same_name(here: Path) -> None:
    for name in ("one", "two"):
        write(here, {f"{name}/train.py": "import model", f"{name}/model.py": f"x = {name!r}"})
        with script.running(script.load(f"{name}/train.py", [])) as ending:
            assert ending == Ending()
            assert sys.modules["__main__"].model.x == name


def test_what_is_imported_from_there_is_not_imported_twice(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here, {"sibling_in_memory.py": ""})
    monkeypatch.syspath_prepend(here)
    sibling = importlib.import_module("sibling_in_memory")
    with script.running(program(here, "import sibling_in_memory as sibling")):
        assert sys.modules["__main__"].sibling is sibling
    assert sys.modules.pop("sibling_in_memory") is sibling


STOPS = {
    "plain": "raise Stop",
    "cleans-up": "try: raise Stop\nfinally: done = True",
    "in-a-generator": "def g():\n    try: yield\n    finally: raise Stop\nfor _ in g(): pass",
    "asyncio": "import asyncio\nasync def f(): raise Stop\nasyncio.run(f())",
    "task-group": """
import asyncio
async def stop(): raise Stop
async def f():
    async with asyncio.TaskGroup() as group: group.create_task(stop())
asyncio.run(f())""",
}


@pytest.mark.parametrize("name", STOPS)
def test_stop(here: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    source = f"from nomagic.script import Stop\n{STOPS[name]}"
    with script.running(program(here, source)) as ending:
        assert ending == Ending("stopped")
        assert vars(sys.modules["__main__"]).get("done", False) == (name == "cleans-up")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("x = 1", Ending()),
        ("raise SystemExit", Ending("exit")),
        ("raise SystemExit('no data')", Ending("exit", 1, "no data")),
        ("raise KeyboardInterrupt", Ending("interrupted", 130, "KeyboardInterrupt")),
        ("{}['x']", Ending("crashed", 1, "KeyError: 'x'")),
        ("eval('1 +')", Ending("crashed", 1, "SyntaxError: invalid syntax")),
        ("e = ValueError('x'); e.add_note('note'); raise e", Ending("crashed", 1, "ValueError: x")),
        ("from nomagic.script import Stop\ntry: raise Stop\nfinally: 1/0",
         Ending("crashed", 1, "ZeroDivisionError: division by zero")),
    ],
)  # fmt: skip
def test_ending(here: Path, source: str, ending: Ending) -> None:
    with script.running(program(here, source)) as how:
        assert how == ending


def test_loading_changes_nothing(here: Path) -> None:
    write(here, PACKAGE)
    before = (sys.argv[:], sys.path[:], set(sys.modules))
    loaded = script.load("pkg.mod", ["x"], as_module=True)
    assert loaded.program == script.Program(str(here / "pkg/mod.py"), ("x",), "pkg.mod")
    assert loaded.file == str(here / "pkg/mod.py")
    assert script.load("single.py", []).program == script.Program("single.py", ())
    assert (sys.argv, sys.path, set(sys.modules)) == before


# ---- what cannot be started --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("trian.py", "Did you mean 'train.py'?"),
        ("train", "Did you mean 'train.py'?"),
        ("sub/trian.py", "Did you mean 'sub/train.py'?"),
        ("zzz/nothing.py", "Expected the path of a Python script"),
        ("", "can't find '__main__' module"),
        ("sub", "name the script inside it"),
        ("loop.py", "Too many levels of symbolic links"),
        ("notes.ipynb", "is a notebook"),
        ("data.csv", "expected a script such as train.py"),
        ("data.npy", "null bytes"),
        ("-m nothing", "no module named 'nothing'"),
        ("-m pkg.nothing", "start from the folder that holds it"),
        ("-m pkg.helper.nothing", "no module named 'pkg.helper.nothing'"),
        ("-m single.train", "no module named 'single.train'"),
        ("-m pkg.broken", "needs a __main__.py in it"),
        ("-m single.py", "a file is run without -m"),
        ("-m .pkg", "no module named '.pkg'"),
        ("-m bad", "SyntaxError"),
        ("folder", "SyntaxError"),
    ],
)
def test_what_cannot_be_started(here: Path, path: str, says: str) -> None:
    write(here, PACKAGE | {"train.py": "", "sub/train.py": "", "notes.ipynb": "{}"})
    write(here, {"data.csv": "a,b\n1 2,3\n", "data.npy": "x\0", "bad.py": "x = = 1\n"})
    write(here, {"folder/__main__.py": "x = = 1\n"})
    (here / "loop.py").symlink_to("loop.py")
    with pytest.raises(script.ScriptError) as caught:
        script.load(path.removeprefix("-m "), [], as_module=path.startswith("-m "))
    assert says in str(caught.value)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "source",
    ["def f(:\n    pass\n", "x = (1,\n", "if x:\nprint(1)\n", "return 1\n", "\tx\n  y\n", "'a"],
)
def test_syntax_error_reads_like_pythons(here: Path, source: str) -> None:
    (here / "train.py").write_text(source)
    with pytest.raises(script.ScriptError) as caught:
        script.load("train.py", [])
    theirs = start(here, "train.py")[2]  # their carets are wider here and there
    lines, theirs = (text.replace("^", "").split() for text in (str(caught.value), theirs))
    assert lines == theirs
