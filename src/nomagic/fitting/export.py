"""A trained model for other programs: one graph from raw numbers to calibrated probabilities.

The graph holds the input steps, every member, their mean and the temperature, so that whoever runs
it prepares nothing. It takes ``x`` in the precision of the model, mostly float32, (n, *shape):
images in [0, 1] (uint8 divided by 255) and channels first, tables as the model's
`nomagic.datasets.tables.Coding` codes them; or int64 tokens (n, length). It returns ``prediction``
and ``spread``, the mean and spread of `nomagic.fitting.fitted.Prediction`. The number of samples is
free, and the graph is held against the model on real inputs before it is kept.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from nomagic.engine.plan import DTYPES
from nomagic.fitting.fitted import Array, Fitted, Served

Kind = Literal["onnx", "torch"]
SIZES = (1, 2, 7, 32, 256)
"""Batch sizes that are compared, each on"""
MOST = 256
"""so many samples at most."""
TOLERANCE = {"float32": 1e-3, "float64": 1e-5, "bfloat16": 0.05}
"""The largest relative difference that is taken for rounding; graphs know no autocast."""
NAMES = ("prediction", "spread")
"""The outputs in ONNX; "mean" would clash with the mean inside of a network."""
TRACED = 2
"""Samples that the graph is made with: 1 would be taken for a constant."""


class ExportError(RuntimeError):
    """A model that cannot be exported, or whose graph says something else: tells which and why."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph on disk, and how far its answers were from the model's.

    ``difference`` is the largest over ``samples`` real inputs, in batches of ``sizes``, relative to
    the largest number compared, or absolute where that is below 1.
    """

    file: Path
    kind: Kind
    bytes: int
    difference: float
    samples: int
    sizes: tuple[int, ...]


Run = Callable[[Tensor], Sequence[Array]]
"""Mean and spread of prepared inputs from what was exported."""


def export(fitted: Fitted, kind: Kind, path: str | Path, x: Any) -> Exported:
    """Write a model as one graph, if it is proven equal on real inputs.

    Args:
        fitted: the model.
        kind: "onnx", which ONNX Runtime and others run, or "torch", for `torch.export.load`.
        path: the file.
        x: raw inputs as `Fitted.predict` takes them, the more the better.

    Raises:
        ExportError: a library is missing, the model has no graph, or its answers differ.
    """
    if kind not in get_args(Kind):
        raise ExportError(f"the kind {kind!r} is not known; it is onnx or torch")
    file = Path(path)
    prepared = fitted.inputs(x)[0]
    if prepared.is_floating_point():
        prepared = prepared.to(DTYPES[fitted.setup.precision])
    write, opened = {"onnx": (_write_onnx, _run_onnx), "torch": (_write_torch, _run_torch)}[kind]
    model = fitted.to("cpu")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder, quiet():
        made = Path(folder) / (file.name or "model")
        with torch.no_grad():
            _written(write, model.served, prepared, made)
        difference, sizes = _compare(model, opened(made), prepared)
        made.replace(file)
    return Exported(file, kind, file.stat().st_size, difference, len(prepared), sizes)


def _written(
    write: Callable[[Served, Tensor, Path], None], served: Served, x: Tensor, file: Path
) -> None:
    example = x[:TRACED] if len(x) >= TRACED else torch.cat([x] * TRACED)[:TRACED]
    try:
        write(served, example, file)
    except (ImportError, ModuleNotFoundError) as error:
        raise ExportError(
            f"{error.name or error} is not installed: pip install 'nomagic[export]'"
        ) from error
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ExportError(
            f"the model has no graph: {type(error).__name__}: {lines[0] if lines else ''}; a "
            "forward that branches on its numbers, or on how many they are, cannot be exported"
        ) from error


def _compare(model: Fitted, run: Run, x: Tensor) -> tuple[float, tuple[int, ...]]:
    """The largest difference between the graph and the model, over batches of several sizes."""
    sizes = tuple(size for size in SIZES if size <= len(x)) or (len(x),)
    worst = 0.0
    for size in sizes:
        parts = x.split(size)[: max(1, MOST // size)]
        for given in parts:
            wanted = [one.numpy() for one in model.served.said(model.run(given))]
            pairs = zip(wanted, run(given), strict=True)
            worst = max(worst, *(_difference(*pair) for pair in pairs))
    limit = TOLERANCE[model.setup.precision]
    if not worst <= limit:
        raise ExportError(
            f"the exported graph differs from the model by {worst:.3g} on {len(x)} real inputs; "
            f"expected at most {limit}: it was not kept"
        )
    return worst, sizes


def _difference(wanted: Array, found: Array) -> float:
    if wanted.shape != found.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(wanted).max()))
    return float(np.abs(wanted.astype(np.float64) - found).max()) / scale


# -- onnx -----------------------------------------------------------------------------------------


def _write_onnx(served: Served, x: Tensor, file: Path) -> None:
    import onnx  # noqa: F401  # pyright: ignore[reportUnusedImport]
    import onnxscript  # noqa: F401  # pyright: ignore[reportUnusedImport]

    program: Any = torch.onnx.export(
        served,
        (x,),
        input_names=["x"],
        output_names=list(NAMES),
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        verbose=False,
    )
    program.save(str(file), external_data=False)


def _run_onnx(file: Path) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            "onnxruntime is not installed, so that the graph cannot be held against the model: "
            "pip install 'nomagic[export]'"
        ) from error
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(
            file.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ExportError(f"ONNX Runtime does not take the exported graph: {error}") from error
    return lambda x: session.run(list(NAMES), {"x": x.numpy()})


# -- torch ----------------------------------------------------------------------------------------


def _write_torch(served: Served, x: Tensor, file: Path) -> None:
    program = torch.export.export(served, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, str(file))


def _run_torch(file: Path) -> Run:
    model = torch.export.load(str(file)).module()
    return lambda x: [one.detach().numpy() for one in model(x)]


# -- quiet ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Without the warnings, prints and logs of other libraries."""
    disabled = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
