"""A setup is found by name, in a file or in a module; the built-in ones train."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from nomagic.datasets import Data
from nomagic.datasets.builtin import NAMES
from nomagic.described import describe
from nomagic.engine import plain, stacked
from nomagic.engine.plan import Plan
from nomagic.parts import nets
from nomagic.setups import BUILTIN, UnknownSetupError, resolve
from nomagic.words import Form, Setup

GOOD = """
from nomagic.words import Setup
from nets import small

setup = Setup(data="wine", model=small)

def wide():
    return Setup(data="wine", model=small, name="wide")

number = 3
"""
NETS = """
from torch import nn

def small(form):
    return nn.Linear(form.features, form.outputs)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a setup, which is where the user is; modules read from it are forgotten."""
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("mine", "nets", "nomagic_setup_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


# -- files and modules ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "name"),
    [
        ("mine.py", "mine"),
        ("mine.py:setup", "mine"),
        ("mine.py:wide", "wide"),
        ("mine:wide", "wide"),
    ],
)
def test_a_setup_of_ones_own(folder: Path, named: str, name: str):
    found = resolve(named)
    assert (found.data, found.name) == ("wine", name)
    assert isinstance(found.model(Form("classification", (13,), 3)), nn.Linear)
    if named == "mine.py":
        assert resolve(folder / named).name == name


def test_a_setup_is_given_back():
    mine = Setup("wine", nets.mlp)
    assert resolve(mine) is mine


def test_the_folder_of_the_data_is_read(tmp_path: Path):
    (tmp_path / "names.txt").write_text("ada\nbob\neve\n" * 40)
    found = resolve("names", tmp_path)
    assert isinstance(found.data, Data)
    assert found.data.form.tokens == len(set("adabobeve\n"))


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("digts", r"no setup 'digts', did you mean digits\?; expected a built-in name, file.py"),
        ("mine", "there is no setup 'mine'"),
        ("min.py", r"no file .*min.py, did you mean mine.py\?"),
        ("mine.py:wid", r"mine.py has no 'wid', did you mean wide\?"),
        ("mine.py:number", "'number' of mine.py is int 3; expected a Setup"),
        ("nowhere.at.all:setup", "no module 'nowhere.at.all'"),
        ("mine:absent", "mine.py has no 'absent'"),
        (7, "the setup is int 7"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_setup(named: str, told: str):
    with pytest.raises(UnknownSetupError, match=told):
        resolve(named)


def test_a_setup_by_another_name_is_pointed_at(folder: Path):
    (folder / "mine.py").write_text(GOOD.replace("setup =", "trial ="))
    with pytest.raises(
        UnknownSetupError, match=r"no 'setup'; name the one that it has, mine.py:trial"
    ):
        resolve("mine.py")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "x = 1\ny = x / 0\n",
            r"ZeroDivisionError: division by zero\n  .*mine.py:2\n    y = x / 0",
        ),
        ("import json\n\njson.loads('{')\n", r"JSONDecodeError.*\n  .*mine.py:3\n    json.loads"),
        ("x = (1\n", r"SyntaxError.*\n  .*mine.py:1\n    x = \(1"),
        ("import no_such_module\n", r"ModuleNotFoundError.*\n  .*mine.py:1\n    import no_such"),
        ("import sys\nsys.exit(2)\n", r"it ended with SystemExit: 2\n  .*mine.py:2"),
        ("def setup():\n    return {}['a']\n", r"KeyError: 'a'\n  .*mine.py:2\n    return {}"),
        ("def setup(data):\n    return data\n", r"TypeError: setup\(\) missing 1 required"),
    ],
)
def test_an_error_shows_the_users_own_line(folder: Path, code: str, told: str):
    (folder / "mine.py").write_text(code)
    with pytest.raises(UnknownSetupError, match=told):
        resolve("mine.py")


# -- built-in setups --------------------------------------------------------------------------

FORMS = {
    nets.linear: Form("classification", (2, 5), 3),
    nets.mlp: Form("regression", (13,), 2),
    nets.image_cnn: Form("classification", (3, 9, 12), 4),
    nets.audio_cnn: Form("classification", (1, 1_024), 10),
    nets.Forecast: Form("regression", (7, 20), 5),
    nets.Transformer: Form("sequence", (8,), 11, tokens=11),
}


def test_every_built_in_set_has_a_setup():
    assert set(BUILTIN) == set(NAMES)
    for name in NAMES:
        setup = resolve(name)
        assert (setup.data, setup.name) == (name, name)
        sent = pickle.loads(pickle.dumps(setup))  # to a process
        assert (sent.name, sent.inputs) == (name, setup.inputs)
        assert describe(sent.model) == describe(setup.model)


@pytest.mark.parametrize("net", FORMS, ids=lambda net: net.__name__)
def test_nets_fit_their_form_and_can_be_stacked(net: type[nn.Module]):
    form = FORMS[net]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, *form.shape, generator=generator)
    if form.tokens:
        x = torch.randint(0, form.tokens, (6, *form.shape), generator=generator)
    y = torch.randint(0, form.outputs, (6,), generator=generator)
    if form.task == "sequence":
        y = x.roll(-1, 1)
    elif form.task == "regression":
        y = torch.randn(6, form.outputs, generator=generator)
    data = Data("made", x, y, form.task, tuple(map(str, range(form.outputs))))
    setup = Setup(data, net, epochs=2, batch_size=2, held_out=0.34)
    plan = Plan(setup)
    with torch.no_grad():
        rows = (6, *form.shape) if form.task == "sequence" else (6,)
        assert plan.model(plan.members([0])[0])(x).shape == (*rows, form.outputs)
    assert stacked.reason_against(plan) == ""
    alone, together = plain.train(plan, [3, 4]), stacked.train(plan, [3, 4])
    for one, other in zip(alone, together, strict=True):
        assert one.scores["loss"] == pytest.approx(other.scores["loss"], rel=1e-3)


def test_the_transformer_does_not_see_what_comes():
    net = nets.Transformer(FORMS[nets.Transformer])
    x = torch.arange(8)[None]
    changed = torch.where(torch.arange(8) > 4, 10, x)
    with torch.no_grad():
        same = torch.isclose(net(x), net(changed), atol=1e-6).all(-1)[0]
    assert same.tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [("digits", "accuracy", 0.92), ("wine", "accuracy", 0.9), ("diabetes", "r2", 0.35)],
)
def test_built_in_setups_train(name: str, metric: str, least: float):
    (outcome,) = plain.train(Plan(resolve(name)), [0])
    assert outcome.scores[metric] > least
