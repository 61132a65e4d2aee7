"""Models that are saved and loaded: the same bits elsewhere, and files that must not be trusted."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nomagic import catalog, setups
from nomagic.datasets import DataError, as_data
from nomagic.described import DescriptionError
from nomagic.engine import plain, scores
from nomagic.engine.plan import Plan
from nomagic.fitting import saved
from nomagic.fitting.fitted import Facts, Fitted, Scaling
from nomagic.fitting.quality import Noise
from nomagic.fitting.saved import SavedModelError
from nomagic.parts import nets
from nomagic.trial import recipe as recipes
from nomagic.trial.arms import glimpse
from nomagic.words import Arm, Form, Recipe, Setup, Step, Verdict


def trained(setup: Setup, **others: Any) -> tuple[Plan, Fitted]:
    """A setup after an epoch on its data."""
    plan = Plan(replace(setup, epochs=1))
    networks = [plain.fit(plan, member).model for member in plan.members([0])]
    return plan, Fitted.of(plan, 0, networks, **others)


small = partial(nets.mlp, width=8, depth=1)
DIGITS = Setup("digits", partial(nets.mlp, width=8), name="digits")


@pytest.fixture(scope="module")
def digits() -> tuple[Plan, Fitted]:
    return trained(DIGITS, temperature=1.5, threshold=0.3)


# -- predictions ----------------------------------------------------------------------------------


def test_a_prediction_is_the_calibrated_mean_of_the_members():
    plan, fitted = trained(replace(DIGITS, members=3), temperature=2.0)
    x = plan.data.x[:50]
    each = torch.stack([network(x).softmax(-1) for network in fitted.networks])
    wanted = (each.mean(0).log() / 2).softmax(-1).detach().numpy()
    found = fitted.predict(x)
    mean, spread = found
    assert np.allclose(mean, wanted, atol=1e-6)
    assert np.allclose(spread, each.std(0).detach().numpy(), atol=1e-6)
    assert (found.labels == wanted.argmax(1).astype(str)).all()
    assert np.allclose(found.entropy, -(mean * np.log(mean)).sum(1), atol=1e-5)
    assert (found.information > 0).all()
    assert found.accepted.all()
    bar = float(np.median(mean.max(1)))
    careful = replace(fitted, threshold=bar).predict(x)
    assert (careful.accepted == (mean.max(1) > bar)).all()
    assert 0 < careful.accepted.sum() < len(careful) == 50


def test_outputs_are_what_scores_take(digits: tuple[Plan, Fitted]):
    plan, fitted = digits
    found = scores.score(plan.setup, "classification", fitted.outputs(plan.data), plan.data.y)
    right = fitted.predict(plan.data.x).labels == plan.data.y.numpy().astype(str)
    assert found["accuracy"] == pytest.approx(right.mean())


def test_batches_do_not_matter(digits: tuple[Plan, Fitted]):
    plan, fitted = digits
    whole = fitted.predict(plan.data.x).mean
    single = np.concatenate([fitted.predict(plan.data.x[i : i + 1]).mean for i in range(20)])
    assert np.allclose(whole[:20], single, atol=1e-6)


def test_images_come_as_training_had_them(digits: tuple[Plan, Fitted]):
    plan, fitted = digits
    x = (plan.data.x[:9] * 255).round().to(torch.uint8)
    wanted = fitted.predict(x.float() / 255).mean
    for given in (x, x[:, 0], x.permute(0, 2, 3, 1), x.numpy(), x.tolist()[0:0] or x):
        assert np.array_equal(fitted.predict(given).mean, wanted)
    assert not fitted.predict(x).remarks
    (remark,) = fitted.predict(x.float()).remarks
    assert "reach 255, those of training 1" in remark


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (torch.zeros(8, 8), r"expected \(n, 1, 8, 8\): for a single sample give x\[None\]"),
        (torch.zeros(5, 64), r"x has shape \(5, 64\); expected \(n, 1, 8, 8\)"),
        (torch.full((2, 1, 8, 8), float("nan")), "NaN in 2 of 2 rows"),
        (np.array(["a", "b"]), "expected numbers"),
        (torch.zeros(0, 1, 8, 8), "no rows"),
        ({"a": [1.0]}, "a dict with a"),
    ],
)
def test_inputs_that_do_not_fit(digits: tuple[Plan, Fitted], x: Any, told: str):
    with pytest.raises(DataError, match=told):
        digits[1].predict(x)


def test_yes_or_no_and_labels():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(80, 3, generator=random)
    for y in ((x[:, 0] > 0).float(), (x > 0).float()):
        plan, fitted = trained(Setup((x, y), small, batch_size=8), temperature=0.5)
        mean, spread = found = fitted.predict(x)
        assert mean.shape == spread.shape == found.labels.shape == found.accepted.shape == y.shape
        logits = fitted.networks[0](x).reshape(y.shape)
        assert np.allclose(mean, (logits / 0.5).sigmoid().detach(), atol=1e-6)
        assert np.allclose(found.confidence, np.maximum(mean, 1 - mean), atol=1e-6)
        assert plan.form.task in ("binary", "multi-label")


def test_numbers_come_in_the_unit_of_the_target():
    plan, fitted = trained(
        Setup("diabetes", nets.mlp, members=2, batch_size=32),
        scaling=Scaling((150.0,), (77.0,)),
        noise=Noise((4.0,), (2.0,)),
    )
    x = plan.data.x[:30]
    found = fitted.predict(x)
    each = torch.stack([network(x)[:, 0] for network in fitted.networks]).detach() * 77 + 150
    assert np.allclose(found.mean, each.mean(0), rtol=1e-5)
    assert np.allclose(found.spread, each.std(0), rtol=1e-3)
    half = 2 * (each.var(0).double() + 4).sqrt().numpy()
    assert found.low is not None
    assert np.allclose(found.mean - found.low, half, rtol=1e-3)
    assert np.isnan(found.entropy).all()


def test_tokens():
    x = torch.randint(5, (40, 6), generator=torch.Generator().manual_seed(0))
    data = as_data((x[:, :-1], x[:, 1:]), labels=tuple("abcde"))
    make = partial(nets.Transformer, width=8, depth=1, heads=2)
    _, fitted = trained(Setup(data, make, batch_size=8))
    found = fitted.predict(x[:7, :-1].numpy().astype(np.int32))
    assert found.mean.shape == (7, 5, 5)
    assert set(found.labels.ravel()) <= set("abcde")
    with pytest.raises(DataError, match="the token 5; expected 0 to 4"):
        fitted.predict(x[:, :-1] + 1)
    with pytest.raises(DataError, match="expected tokens"):
        fitted.predict(x[:, :-1].float())


def frame() -> dict[str, Any]:
    random = np.random.default_rng(0)
    age = random.normal(40, 10, 60)
    age[:5] = np.nan
    work = np.array(["a", "b", "?"])[np.arange(60) % 3]
    return {"age": age, "work": work, "rich": np.where(np.nan_to_num(age) > 40, "yes", "no")}


def test_a_frame_is_coded_as_it_was_learnt(tmp_path: Path):
    table = frame()
    _, fitted = trained(Setup((table, "rich"), small, batch_size=8))
    saved.save(fitted, tmp_path)
    again = saved.load(tmp_path)
    assert again.coding is not None
    assert again.coding.names == ("age", "age is missing", "work=a", "work=b", "work=missing")
    assert again.coding == fitted.coding
    wanted = fitted.predict(as_data((table, "rich")).x).mean
    few = {name: values[10:13] for name, values in table.items() if name != "rich"}
    assert np.array_equal(again.predict(few).mean, fitted.predict(few).mean)
    assert np.allclose(again.predict(few).mean, wanted[10:13], atol=1e-6)
    strange = {"age": [30, None], "work": ["new", "a"]}
    found = again.predict({name: np.array(values) for name, values in strange.items()})
    assert found.remarks[0] == "work: 'new' did not occur in training"
    with pytest.raises(DataError, match=r"no column 'work'.*expected age, work"):
        again.predict({"age": np.zeros(2)})
    with pytest.raises(DataError, match="'age' holds text"):
        again.predict({"age": np.array(["old"]), "work": np.array(["a"])})


# -- saved and loaded -----------------------------------------------------------------------------

READ = """
import sys
import numpy as np
from nomagic.fitting import saved

for folder, setup in zip(sys.argv[1::2], sys.argv[2::2]):
    mean, spread = saved.load(folder, setup or None).predict(np.load(folder + "/x.npy"))
    np.savez(folder + "/said.npz", mean=mean, spread=spread)
"""


def check_elsewhere(models: list[tuple[Path, Plan, Fitted, str]]) -> None:
    """A fresh process predicts the same bits."""
    given: list[str] = []
    for folder, plan, fitted, setup in models:
        saved.save(fitted, folder)
        np.save(folder / "x.npy", plan.data.x.numpy())
        given += [str(folder), setup]
    subprocess.run([sys.executable, "-W", "error", "-c", READ, *given], check=True)
    for folder, plan, fitted, _ in models:
        mean, spread = fitted.predict(plan.data.x)
        with np.load(folder / "said.npz") as said:
            assert np.array_equal(said["mean"], mean), folder
            assert np.array_equal(said["spread"], spread), folder


def tricky() -> Setup:
    """Three tricks and an input step."""
    setup = replace(setups.resolve("digits"), inputs=setups.resolve("wine").inputs)
    for name in ("prelu", "batch-norm", "scaled-init"):
        practice = catalog.find(name)
        assert practice.apply is not None
        found = [*practice.apply(setup, glimpse(Plan(setup), 0))]
        setup = next(one.setup for one in found if isinstance(one, Arm))
    return setup


SETUPS: dict[str, Callable[[], Setup]] = {
    "preset": lambda: setups.resolve("digits"),
    "tricks": tricky,
    "five": lambda: replace(setups.resolve("wine"), members=5),
    "double": lambda: replace(DIGITS, precision="float64"),
    "bfloat16": lambda: replace(DIGITS, precision="bfloat16"),
}


def test_a_fresh_process_predicts_the_same_bits(tmp_path: Path):
    (tmp_path / "setup.py").write_text(OWN)
    own = str(tmp_path / "setup.py")
    made = {name: trained(make(), temperature=1.25) for name, make in SETUPS.items()}
    models = [(tmp_path / name, *made[name], "") for name in SETUPS]
    models.append((tmp_path / "own", *trained(setups.resolve(own)), own))
    check_elsewhere(models)
    fitted = made["tricks"][1]
    assert len(fitted.setup.edits) >= 3
    assert len(fitted.fitted) == 1


OWN = """
import torch
import nomagic as nm


class Net(torch.nn.Module):
    def __init__(self, form, width):
        super().__init__()
        self.first = torch.nn.Linear(form.features, width)
        self.last = torch.nn.Linear(width, form.outputs)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).relu())


def loss(output, target):
    return torch.nn.functional.cross_entropy(output, target)


setup = nm.Setup("digits", lambda form: Net(form, 8), loss=lambda a, b: loss(a, b), epochs=1)
"""


def test_a_users_own_model_comes_back_with_its_setup(tmp_path: Path):
    file = tmp_path / "setup.py"
    file.write_text(OWN)
    plan, fitted = trained(setups.resolve(str(file)))
    saved.save(fitted, tmp_path / "model")
    assert 'setup="setup.py"' in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(DescriptionError, match=r"<lambda> of setup.py.*pass the setup"):
        saved.load(tmp_path / "model")
    assert not saved.load(tmp_path / "model", setups.resolve(str(file))).remarks
    file.write_text(OWN + "\n# a remark\n")
    again = saved.load(tmp_path / "model", str(file))
    assert "model is another one than when the model was saved" in " ".join(again.remarks)
    assert np.array_equal(again.predict(plan.data.x).mean, fitted.predict(plan.data.x).mean)
    file.write_text(OWN.replace("Net(form, 8)", "Net(form, 9)"))
    with pytest.raises(
        SavedModelError, match=r"first.weight is \(8, 64\) .* in the file and \(9, 64\)"
    ):
        saved.load(tmp_path / "model", str(file))


def own_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output, target)


def test_own_functions_that_predictions_do_not_need_are_left_out(tmp_path: Path):
    plan, fitted = trained(replace(DIGITS, loss=own_loss))
    saved.save(fitted, tmp_path)
    again = saved.load(tmp_path)
    assert again.setup.loss is None
    assert "loss is left out, which predictions do not need" in again.remarks[0]
    assert np.array_equal(again.predict(plan.data.x).mean, fitted.predict(plan.data.x).mean)
    assert saved.load(tmp_path, plan.setup).setup.loss is own_loss


def test_everything_else_comes_back(tmp_path: Path):
    verdict = Verdict("prelu", "prelu-0.1", "HELPS", 0.02, 0.01, 0.03, 50.0, 0.9, 8, fresh=True)
    facts = Facts(
        metric="accuracy",
        scores={"accuracy": 0.9, "loss": 0.3},
        intervals={"accuracy": (0.88, 0.92)},
        tested=300,
        trained=900,
        data="digits",
        fingerprint="ab",
        seed=3,
        versions={"torch": "2"},
        says=('twice the data would bring "more"',),
        others={"curve": [1.0, float("inf")]},
    )
    recipe = Recipe("digits", "accuracy", (Step("prelu", "prelu-0.1", verdict),))
    _, fitted = trained(DIGITS, facts=facts, recipe=recipe, threshold=0.5)
    saved.save(fitted, tmp_path)
    again = saved.load(tmp_path)
    assert again.facts == facts
    assert again.recipe == recipes.read(tmp_path / "recipe.toml")
    assert again.recipe.steps == recipe.steps
    assert (again.threshold, again.temperature, again.span) == (0.5, 1.0, fitted.span)
    assert again.form == fitted.form
    for field in ("epochs", "batch_size", "rate", "members", "shuffle", "held_out"):
        assert getattr(again.setup, field) == getattr(fitted.setup, field)
    card = (tmp_path / "README.md").read_text()
    assert "| accuracy (decides) | 0.9 | 0.88 … 0.92 |" in card
    assert 'twice the data would bring "more"' in card
    assert "On 300 samples" in card


class Tied(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.first = nn.Linear(form.features, form.features)
        self.second = nn.Linear(form.features, form.features)
        self.second.weight = self.first.weight
        self.last = nn.Linear(form.features, form.outputs)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.first(x.flatten(1)).relu()).relu())


def test_shared_weights_are_saved_once_and_stay_shared(tmp_path: Path):
    plan, fitted = trained(replace(DIGITS, model=Tied))
    saved.save(fitted, tmp_path)
    again = saved.load(tmp_path, plan.setup)
    (network,) = again.networks
    assert network.first.weight is network.second.weight
    assert "second.weight" not in (tmp_path / "model.safetensors").read_bytes().decode("latin1")
    assert np.array_equal(again.predict(plan.data.x).mean, fitted.predict(plan.data.x).mean)


class Changing(nn.Module):
    """Keeps numbers that are neither parameters nor buffers."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.last = nn.Linear(form.features, form.outputs)
        self.secret = [torch.rand(()) + self.made()]

    made_so_far = 0

    @classmethod
    def made(cls) -> int:
        cls.made_so_far += 1
        return cls.made_so_far

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.flatten(1)) * self.secret[0]


def test_what_cannot_be_saved_is_told_at_once(tmp_path: Path):
    _, fitted = trained(replace(DIGITS, model=Changing))
    with pytest.raises(SavedModelError, match="gives other predictions than the one in memory"):
        saved.save(fitted, tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path: Path, digits: tuple[Plan, Fitted]):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedModelError, match=r"cannot save to .*file"):
        saved.save(digits[1], tmp_path / "file")


def test_an_old_model_stays_until_the_new_one_is_whole(tmp_path: Path, digits: tuple[Plan, Fitted]):
    plan, old = digits
    _, new = trained(replace(DIGITS, draw=1))
    here, there = saved.save(old, tmp_path / "here"), saved.save(new, tmp_path / "there")

    def found() -> Any:
        return saved.load(here).predict(plan.data.x).mean

    shutil.copy(there / saved.WEIGHTS, here / saved.NEW)  # killed before the recipe is replaced
    assert np.array_equal(found(), old.predict(plan.data.x).mean)
    shutil.copy(there / saved.RECIPE, here / saved.RECIPE)  # killed after it
    assert np.array_equal(found(), new.predict(plan.data.x).mean)
    saved.save(old, here)
    assert np.array_equal(found(), old.predict(plan.data.x).mean)
    assert not (here / saved.NEW).exists()


# -- files that are damaged or hostile ------------------------------------------------------------


def damaged(folder: Path, pattern: str, by: str) -> None:
    """Change the recipe."""
    file = folder / "recipe.toml"
    text = file.read_text()
    changed = re.sub(pattern, lambda _: by, text, count=1, flags=re.MULTILINE)
    assert changed != text
    file.write_text(changed)


@pytest.fixture
def folder(tmp_path: Path, digits: tuple[Plan, Fitted]) -> Path:
    return saved.save(digits[1], tmp_path / "model")


@pytest.mark.parametrize(
    ("pattern", "by", "told"),
    [
        (r"^version = 1", "version = 99", "its version is 99"),
        (r"^\[weights\]", "[other]", r"no \[weights\]"),
        (r"^\[form\]", "[form", "damaged"),
        (r"nomagic\.parts\.nets:mlp", "os:system", "os:system"),
        (r"nomagic\.parts\.nets:mlp", "nomagic.parts.nets:nothing", "in this version"),
        (r"nomagic\.parts\.nets:mlp", "nomagic.setups:resolve", "may be"),
        (r"width = 8", "width = 9", "do not fit the network"),
        (r"width = 8", 'width = "wide"', "cannot be built"),
        (r"^model = .*", "model = 3", "damaged in .fields."),
        (r"^model = .*", "", "damaged in .fields."),
        (r"^inputs = \{.*", 'inputs = {list = ["x"]}', "damaged in .fields."),
        (r"^edits = .*", "edits = {list = 3}", "damaged in .fields."),
        (r"^precision = .*", 'precision = "int8"', "damaged in .fields."),
        (r"^rate = 1.0$", "rate = 1.0\nstrange = 2", "damaged in .fields."),
        (r'^task = "classification"', 'task = "magic"', r"damaged in \[form\]"),
        (r"^shape = .*", "shape = [1, -8, 8]", r"damaged in \[form\]"),
        (r"^shape = .*", "shape = [100000, 100000, 8]", r"damaged in \[form\]"),
        (r"^outputs = 10", "outputs = 11", "do not fit the network"),
        (r"^temperature = .*", 'temperature = "hot"', r"damaged in \[answering\]"),
        (r"^members = 1", "members = 2", "missing in the file"),
        (r"^inputs = \[\]", "inputs = [1]", "no inputs.0.0"),
        (r"^sha256 = .*", 'sha256 = "00"', "not the file that recipe.toml belongs to"),
    ],
)
def test_a_damaged_recipe(folder: Path, pattern: str, by: str, told: str):
    damaged(folder, pattern, by)
    with pytest.raises((SavedModelError, DescriptionError), match=told):
        saved.load(folder)


def test_damaged_weights(folder: Path):
    file = folder / "model.safetensors"
    content = file.read_bytes()
    for broken in (content[:-10], content[:-1] + b"\x01", b""):
        file.write_bytes(broken)
        with pytest.raises(SavedModelError, match="copy the whole directory again"):
            saved.load(folder)
    for strange in (b"", b"\x80\x04not a safetensors file", content[:-10]):
        file.write_bytes(strange)
        damaged(folder, r"^sha256 = .*", f'sha256 = "{hashlib.sha256(strange).hexdigest()}"')
        with pytest.raises(SavedModelError, match="holds no tensors"):
            saved.load(folder)
    file.unlink()
    with pytest.raises(SavedModelError, match="No such file"):
        saved.load(folder)


def test_no_model_there(tmp_path: Path, folder: Path):
    with pytest.raises(SavedModelError, match="no saved model"):
        saved.load(tmp_path / "nothing")
    with pytest.raises(SavedModelError, match="that is a file"):
        saved.load(folder / "recipe.toml")
    (folder / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SavedModelError, match="damaged"):
        saved.load(folder)
    (folder / "recipe.toml").write_text("x = " + "[" * 100_000)
    with pytest.raises(SavedModelError, match="damaged"):
        saved.load(folder)
