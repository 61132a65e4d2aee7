"""`nomagic.fit`: read what the user asks for, and run the stages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nomagic import setups
from nomagic.described import DescriptionError
from nomagic.engine.lasting import CheckpointError
from nomagic.fitting import saved
from nomagic.fitting.case import FitError, Wish
from nomagic.fitting.export import ExportError
from nomagic.fitting.fitted import Fitted
from nomagic.fitting.fitting import TEST, Ask, Fitting, Tell
from nomagic.fitting.ledger import LedgerError
from nomagic.trial import recipe as recipes
from nomagic.trial import run as trials
from nomagic.trial.budget import seconds
from nomagic.trial.recipe import RecipeError
from nomagic.words import Fit, Recipe, Setup

ERRORS = (
    *trials.ERRORS,
    FitError,
    LedgerError,
    RecipeError,
    CheckpointError,
    DescriptionError,
    ExportError,
    saved.SavedModelError,
)
"""What bad input raises; each says what came, what was expected and what to do."""
UNITS = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1_024, "mib": 1_048_576}


def fit(setup: Setup | str | Any, *, tell: Tell | None = None, **options: Any) -> Fitted:
    """Train a setup by the recipe, and return the model.

    Args:
        setup: a `Setup`, or what names one: a built-in name, ``file.py``, ``file.py:function``.
        tell: called with the `nomagic.words.Fit` so far, again and again.
        options: those of `run`.

    Raises:
        FitError, LedgerError, SetupError, DataError, RecipeError: bad input.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    found = setups.resolve(setup, options.get("data"))
    ended = run(found, tell=tell, **options)
    if ended.ending == "interrupted":
        raise KeyboardInterrupt
    return saved.load(ended.directory, found)


def run(
    setup: Setup | str | Any,
    *,
    budget: str | float = "10m",
    out: str | Path | None = None,
    recipe: Recipe | str | Path | None = None,
    members: int = 5,
    metric: str | None = None,
    from_: str = "",
    until: str = "",
    skip: Iterable[str] = (),
    max_bytes: str | int | None = None,
    max_ms: float | None = None,
    pretrain: str = "auto",
    weights: str | Path | None = None,
    export: Iterable[str] = (),
    test: float = TEST,
    data: str | Path | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Fit:
    """Train a setup by the recipe, and return what was found; the model is in its directory.

    Args:
        setup: a `Setup`, or what names one: a built-in name, ``file.py``, ``file.py:function``.
        budget: the time it may take, such as ``"10m"``.
        out: the directory of the model and of all evidence, by default ``fit-NAME``; the same call
            goes on where it was stopped.
        recipe: what `nomagic.try_` proved, or its file; without one, a short trial is made.
        members: networks of the ensemble.
        metric: the metric that decides, in place of the setup's own.
        from_: the stage from which on all is done anew.
        until: the stage after which to stop.
        skip: stages to leave out.
        max_bytes: what the model may take on disk, such as ``"200kB"``.
        max_ms: the milliseconds that one prediction may take.
        pretrain: a kind of unsupervised pre-training, ``"auto"`` or ``"off"``.
        weights: a file of weights from which the network is fine-tuned.
        export: formats to write the model in, too: ``"onnx"``, ``"torch"``, or ``"int8"``, with
            weights in 8 bits.
        test: the share of the samples that is set aside for the end, where the data have no test
            part of their own.
        data: the folder of built-in data.
        seed: of everything that is drawn.
        tell: called with the fit so far, again and again.

    Raises:
        FitError, LedgerError, SetupError, DataError, RecipeError: bad input.
    """
    found = setups.resolve(setup, data)
    found = replace(found, metric=metric) if metric else found
    given = recipes.read(Path(recipe)) if isinstance(recipe, (str, Path)) else recipe
    wish = Wish(
        members=members,
        recipe=given,
        bytes=size(max_bytes),
        ms=max_ms,
        pretrain=pretrain,
        weights=Path(weights) if weights else None,
        export=tuple(export),
        seed=seed,
    )
    stages = tuple(name.strip() for one in skip for name in one.split(",") if name.strip())
    source = str(setup) if isinstance(setup, (str, Path)) else "setup.py"
    ask = Ask(seconds(budget), from_=from_, until=until, skip=stages, test=test, source=source)
    place = Path(out) if out else Path(f"fit-{found.name or 'model'}")
    return Fitting(found, place, ask, wish, tell).run()


def size(given: str | int | None) -> int | None:
    """Read a size such as ``200kB``, ``1.5MB`` or ``4096``.

    Raises:
        FitError: it is none, or not above zero.
    """
    if given is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(given).lower())
    if not found or found[2] not in UNITS or float(found[1]) <= 0:
        raise FitError(f"the size {given!r} is none; write 200kB, 1.5MB or 4096")
    return int(float(found[1]) * UNITS[found[2]])
