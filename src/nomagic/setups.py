"""What a user names becomes a `Setup`: a built-in set, a file, or an attribute of a module.

A file has a module-level ``setup``, a `Setup` or a function that returns one::

    import nomagic as nm
    setup = nm.Setup(data="digits", model=lambda form: MyNet(form.channels, form.classes))
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nomagic.config import nearest
from nomagic.words import InputStep, Setup

if TYPE_CHECKING:
    from torch.optim import Optimizer


class UnknownSetupError(ValueError):
    """What was named gives no setup: says what came, what was expected and what to do."""


def resolve(named: Any, folder: str | Path | None = None) -> Setup:
    """The setup that is named.

    Args:
        named: a built-in name ("digits"), ``file.py``, ``file.py:function``,
            ``package.module:attribute``, or a `Setup`, which is returned.
        folder: where the files of built-in sets are, by default what NOMAGIC_DATA names.

    Raises:
        UnknownSetupError: there is none, or what was found is none.
    """
    if isinstance(named, Setup):
        return _placed(named, folder)
    named = str(named) if isinstance(named, Path) else named
    if not isinstance(named, str) or not named:
        kind = type(named).__name__
        raise UnknownSetupError(f"the setup is {kind} {named!r:.60}; expected {EXPECTED}")
    if named in BUILTIN:
        return _placed(BUILTIN[named](), folder)
    source, _, attribute = named.rpartition(":")
    if not source or attribute.endswith(".py"):
        source, attribute = named, ""
    if source.endswith(".py"):
        module = _from_file(Path(source))
    elif attribute:
        module = _from_module(source)
    else:
        raise UnknownSetupError(
            f"there is no setup {named!r}{nearest(named, BUILTIN)}; expected {EXPECTED} "
            f"(built in are {', '.join(BUILTIN)})"
        )
    return _placed(_take(module, attribute or "setup", named), folder)


EXPECTED = "a built-in name, file.py, file.py:function or package.module:attribute"


def _placed(setup: Setup, folder: str | Path | None) -> Setup:
    """The setup with its built-in data read from the folder, where one is given."""
    if folder is None or not isinstance(setup.data, str):
        return setup
    from nomagic.datasets import data

    return replace(setup, data=data(setup.data, folder))


# -- files and modules ------------------------------------------------------------------------


def _from_file(file: Path) -> ModuleType:
    """Run a file as a module of its own; its folder is where it imports from."""
    file = file.expanduser().absolute()
    if not file.is_file():
        near = nearest(file.name, [one.name for one in file.parent.glob("*.py")])
        raise UnknownSetupError(f"there is no file {file}{near}; expected {EXPECTED}")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(f"nomagic_setup_{file.stem}", file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    _run(partial(spec.loader.exec_module, module), file)
    return module


def _from_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UnknownSetupError(
            f"there is no module {name!r} below {Path.cwd()} or among the installed ones; "
            f"expected {EXPECTED}"
        )
    modules: list[ModuleType] = []
    _run(lambda: modules.append(importlib.import_module(name)), Path(found.origin or name))
    return modules[0]


def _run(run: Callable[[], Any], file: Path) -> Any:
    """Run the user's code; an error becomes one that shows the user's own line."""
    try:
        return run()
    except (Exception, SystemExit) as error:
        line = _line(error, file)
        kind = "it ended with" if isinstance(error, SystemExit) else "it raised"
        raise UnknownSetupError(
            f"{file.name} gives no setup: {kind} {type(error).__name__}: {error}{line}"
        ) from error


def _line(error: BaseException, file: Path) -> str:
    """Where in the file it happened, with the line: the innermost frame of that file."""
    number = error.lineno if isinstance(error, SyntaxError) and error.filename == str(file) else 0
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(file):
            number = frame.lineno or number
    text = linecache.getline(str(file), number).strip() if number else ""
    return f"\n  {file}:{number}\n    {text}" if text else ""


def _take(module: ModuleType, attribute: str, named: str) -> Setup:
    """The attribute, called if it is a function."""
    file = Path(module.__file__ or module.__name__)
    if not hasattr(module, attribute):
        raise UnknownSetupError(
            f"{file.name} has no {attribute!r}{_others(module, attribute, named)}; expected a "
            f"Setup, or a function that returns one: {attribute} = nm.Setup(data=…, model=…)"
        )
    found = getattr(module, attribute)
    if callable(found) and not isinstance(found, Setup):
        found = _run(found, file)
    if not isinstance(found, Setup):
        raise UnknownSetupError(
            f"{attribute!r} of {file.name} is {type(found).__name__} {found!r:.60}; expected a "
            "Setup, or a function without arguments that returns one"
        )
    return found if found.name else replace(found, name=Path(named.partition(":")[0]).stem)


def _others(module: ModuleType, attribute: str, named: str) -> str:
    """A hint at what the user may have meant."""
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Setup) or getattr(value, "__module__", "") == module.__name__
    ]
    setups = [name for name in own if isinstance(getattr(module, name), Setup)]
    source = named.rpartition(":")[0] or named
    pointed = f"; name the one that it has, {source}:{setups[0]}" if setups else ""
    return nearest(attribute, own) or pointed


# -- built-in setups --------------------------------------------------------------------------


def _standardised() -> tuple[InputStep, ...]:
    """Each number of the input with mean 0 and deviation 1 over the training part."""
    from nomagic.parts.scaling import mean_and_deviation, standardise

    return (InputStep("standardise-input", mean_and_deviation, standardise),)


def _image(name: str, epochs: int, **fields: Any) -> Setup:
    from nomagic.parts import nets

    return Setup(name, nets.image_cnn, epochs=epochs, name=name, **fields)


def _digits() -> Setup:
    return _image("digits", 8, optimizer=_faster(2))


def _narrow_image(name: str, epochs: int) -> Setup:
    from nomagic.parts import nets

    model = partial(nets.image_cnn, width=8)
    return Setup(name, model, optimizer=_faster(), epochs=epochs, batch_size=32, name=name)


def _table(name: str, epochs: int, **fields: Any) -> Setup:
    from nomagic.parts import nets

    steps = _standardised()
    return Setup(name, nets.mlp, epochs=epochs, inputs=steps, name=name, **fields)


def _speech() -> Setup:
    from nomagic.parts import nets

    model = partial(nets.audio_cnn, width=16)
    return Setup("fsdd", model, optimizer=_faster(2), epochs=6, batch_size=32, name="fsdd")


def _text(name: str, epochs: int, **fields: Any) -> Setup:
    from nomagic.parts import nets

    return Setup(name, nets.Transformer, optimizer=_faster(), epochs=epochs, name=name, **fields)


def _faster(times: float = 1) -> Callable[[Any], Optimizer]:
    """AdamW at 3e-3 or a multiple: at 1e-3 these need three times as many steps."""
    from torch.optim import AdamW

    return partial(AdamW, lr=3e-3 * times)


def _series() -> Setup:
    from nomagic.parts import nets

    return Setup("etth1", nets.Forecast, epochs=5, split="fixed", metric="mse", name="etth1")


BUILTIN: dict[str, Callable[[], Setup]] = {
    "digits": _digits,
    "wine": partial(_table, "wine", 40, batch_size=16),
    "breast-cancer": partial(_table, "breast-cancer", 20, batch_size=32),
    "diabetes": partial(_table, "diabetes", 20, batch_size=32),
    "mnist": partial(_narrow_image, "mnist", 2),
    "fashion-mnist": partial(_narrow_image, "fashion-mnist", 2),
    "cifar10": partial(_image, "cifar10", 3),
    "fsdd": _speech,
    "adult": partial(_table, "adult", 3, batch_size=128),
    "california-housing": partial(_table, "california-housing", 20),
    "tinyshakespeare": partial(_text, "tinyshakespeare", 1, batch_size=32, split="fixed"),
    "names": partial(_text, "names", 2),
    "etth1": _series,
}
"""A setup for each built-in set that trains to a good score in seconds on one core."""
