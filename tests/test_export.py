"""Graphs for other programs: equal to the model on raw inputs, at any batch size, or not kept."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from nomagic import setups
from nomagic.datasets import as_data
from nomagic.engine import plain
from nomagic.engine.plan import Plan
from nomagic.fitting.export import ExportError, Kind, export
from nomagic.fitting.fitted import Fitted, Scaling
from nomagic.parts import nets
from nomagic.parts.presets.images import ResidualCnn
from nomagic.words import Form, Setup

WINE = replace(setups.resolve("wine"), model=partial(nets.mlp, width=8), epochs=1, members=2)


def trained(setup: Setup, **others: Any) -> tuple[Plan, Fitted]:
    plan = Plan(replace(setup, epochs=1))
    networks = [plain.fit(plan, member).model for member in plan.members([0])]
    return plan, Fitted.of(plan, 0, networks, **others)


@pytest.fixture(scope="module")
def wine() -> tuple[Plan, Fitted]:
    return trained(WINE, temperature=1.5)


def test_onnx_runtime_gives_the_calibrated_mean_of_raw_inputs(
    wine: tuple[Plan, Fitted], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    plan, fitted = wine
    done = export(fitted, "onnx", tmp_path / "wine.onnx", plan.data.x)
    assert done.difference < 1e-5
    assert done.sizes == (1, 2, 7, 32)
    assert [one.name for one in tmp_path.iterdir()] == ["wine.onnx"]
    assert done.bytes == (tmp_path / "wine.onnx").stat().st_size
    assert capfd.readouterr() == ("", "")
    session: Any = onnxruntime.InferenceSession(str(done.file))
    for count in (1, 3, 100):
        raw = plan.data.x[:count]
        mean, spread = session.run(None, {"x": raw.numpy()})
        wanted = fitted.predict(raw)
        assert np.allclose(mean, wanted.mean, atol=1e-6)
        assert np.allclose(spread, wanted.spread, atol=1e-6)


def test_torch_gives_the_same(wine: tuple[Plan, Fitted], tmp_path: Path):
    plan, fitted = wine
    done = export(fitted, "torch", tmp_path / "new" / "wine.pt2", plan.data.x[:40])
    assert done.difference < 1e-6
    assert (done.samples, done.sizes) == (40, (1, 2, 7, 32))
    mean, _ = torch.export.load(str(done.file)).module()(plan.data.x[:5])
    assert np.allclose(mean.detach(), fitted.predict(plan.data.x[:5]).mean, atol=1e-6)


def regression() -> tuple[Setup, dict[str, Any]]:
    return Setup("diabetes", partial(nets.mlp, width=8), batch_size=64), {
        "scaling": Scaling((150.0,), (77.0,))
    }


def tokens() -> tuple[Setup, dict[str, Any]]:
    x = torch.randint(5, (40, 7), generator=torch.Generator().manual_seed(0))
    make = partial(nets.Transformer, width=8, depth=1, heads=2)
    return Setup(as_data((x[:, :-1], x[:, 1:])), make, batch_size=8), {"temperature": 0.8}


def images() -> tuple[Setup, dict[str, Any]]:
    data = replace(as_data("digits"), x=(as_data("digits").x[:200] * 255).to(torch.uint8))
    data = replace(data, y=data.y[:200])
    return Setup(data, partial(nets.image_cnn, width=4), members=2), {}


def convolutions() -> tuple[Setup, dict[str, Any]]:
    setup, _ = images()
    return replace(setup, model=ResidualCnn((4, 8))), {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize("make", [regression, tokens, images, convolutions])
def test_every_task_can_be_exported(make: Any, kind: Kind, tmp_path: Path):
    setup, others = make()
    plan, fitted = trained(setup, **others)
    done = export(fitted, kind, tmp_path / "model", plan.data.x)
    assert done.difference < 1e-4


class Branching(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.last = nn.Linear(form.features, form.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x) if float(x.sum()) > 0 else -self.last(x)


class Noisy(Branching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + torch.rand_like(x))


@pytest.mark.parametrize(
    ("model", "told"),
    [(Branching, "has no graph: .*branches on its numbers"), (Noisy, "differs from the model by")],
)
def test_what_is_not_equal_is_not_kept(model: Any, told: str, tmp_path: Path):
    setup = replace(setups.resolve("diabetes"), model=model)
    plan, fitted = trained(setup)
    with pytest.raises(ExportError, match=told):
        export(fitted, "torch", tmp_path / "model.pt2", plan.data.x)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind(wine: tuple[Plan, Fitted], tmp_path: Path):
    with pytest.raises(ExportError, match="it is onnx or torch"):
        export(wine[1], "tflite", tmp_path / "x", wine[0].data.x)  # type: ignore[arg-type]


WITHOUT = """
import sys
sys.modules["onnxscript"] = None
sys.path.insert(0, sys.argv[1])
from test_export import WINE, trained
from nomagic.fitting.export import export
plan, fitted = trained(WINE)
try:
    export(fitted, "onnx", "model.onnx", plan.data.x)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_missing_library_is_named(tmp_path: Path):
    given = [sys.executable, "-c", WITHOUT, str(Path(__file__).parent)]
    done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == (
        "ExportError onnxscript is not installed: pip install 'nomagic[export]'"
    )
    assert not list(tmp_path.iterdir())


def test_warnings_are_heard_again(wine: tuple[Plan, Fitted], tmp_path: Path):
    export(wine[1], "torch", tmp_path / "model.pt2", wine[0].data.x)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)
