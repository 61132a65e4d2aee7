"""A look at data: planted faults are found, clean data are not called faulty, bad input is told."""

import gzip
import importlib.util
import json
import os
import re
import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from results import HOSTILE
from torch import nn
from torch.utils.data import Dataset

import nomagic as nm
from nomagic.__main__ import main
from nomagic.datasets import DataError
from nomagic.looking import copies, facts, labels
from nomagic.looking.feeding import subject
from nomagic.looking.reading import read
from nomagic.looking.run import QUESTIONS, look
from nomagic.looking.study import Study, counted
from nomagic.looking.subject import LookError, chosen
from nomagic.report import html, survey
from nomagic.report.lines import console
from nomagic.report.look import show
from nomagic.setups import UnknownSetupError
from nomagic.words import Exhibit, Finding, Form, Gallery, InputStep, Section, Survey

DIGITS = nm.data("digits")
X, Y = DIGITS.x.clone(), DIGITS.y.clone()


def net(form: Form) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(form.features, form.outputs))


def ask(name: str, given: Any, **options: Any) -> Section:
    """One section alone."""
    found = read(given, **options)
    study = Study(subject(found, options.get("samples"), 0))
    return dict(QUESTIONS)[name](study)


def said(section: Section) -> dict[str, Finding]:
    return {finding.message: finding for finding in section.findings}


@cache
def surveyed(name: str) -> Survey:
    return look(name)


# -- clean data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wine", "breast-cancer", "diabetes"])
def test_clean_tables_are_not_called_faulty(name: str):
    found = surveyed(name)
    assert [section.name for section in found.sections] == [one for one, _ in QUESTIONS]
    assert not [one for one in found.findings if one.severity != "note"]
    failed = [one for one in found.sections if "could not" in one.skipped]
    assert not failed
    assert not found.phase


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["digits", "mnist", "fashion-mnist", "cifar10", "fsdd", "adult", "names", "etth1"]
)
def test_clean_sets_are_not_called_faulty(name: str):
    if name != "digits" and "NOMAGIC_DATA" not in os.environ:
        pytest.skip("NOMAGIC_DATA names no folder")
    found = look(name, samples=2_000)
    assert not [one for one in found.findings if one.severity != "note"]
    assert not [one for one in found.sections if "could not" in one.skipped]


# -- what there is --------------------------------------------------------------------------------


def test_what_there_is_counts_samples_parts_and_classes():
    section = ask("what there is", (X, Y))
    assert section.numbers["samples"] == {"all": 1797}
    assert section.numbers["classes"]["3"] == 183
    assert "1,797 samples" in section.says[0]
    assert not section.findings


def test_classes_that_are_rare_missing_or_drift_are_told(tmp_path: Path):
    rows = torch.cat([(Y != 0).nonzero().flatten(), (Y == 0).nonzero().flatten()[:9]])
    assert (
        said(ask("what there is", (X[rows], Y[rows])))["some classes are rare"].severity == "note"
    )
    file = tmp_path / "split.npz"
    order = Y.argsort()
    np.savez(file, x_train=X[order[:1400]], y_train=Y[order[:1400]], x_test=X[order[1400:]],
             y_test=Y[order[1400:]])  # fmt: skip
    found = said(ask("what there is", file))
    assert found["classes are missing from the training part"].severity == "fault"
    assert found["classes are missing from the test part"].severity == "warning"
    assert "by chance with p" in found["the classes are not equally frequent in all parts"].seen


# -- what the network is fed ----------------------------------------------------------------------


def test_what_is_fed_comes_after_the_steps_of_the_setup():
    step = InputStep("halve", lambda x: (x.new_tensor(0.5),), lambda x, half: x * half)
    setup = nm.Setup((X, Y), net, inputs=(step,), name="halved")
    section = ask("what the network is fed", setup)
    assert section.numbers["range"]["largest"] == 0.5
    assert "after halve" in section.says[0]
    assert len(section.galleries[0].exhibits) == 60
    assert all(one.media.startswith(b"\x89PNG") for one in section.galleries[0].exhibits)


def test_numbers_that_take_few_values_are_counted_by_value():
    (picture,) = ask("what the network is fed", "digits").pictures
    assert len(picture.series[0].x) == 17, "0 to 16, as fractions"
    assert sum(picture.series[0].y) == 1_797 * 64


def test_steps_are_fitted_on_the_training_part_only():
    step = InputStep("mean", lambda x: (x.new_tensor(float(len(x))),), lambda x, n: x * 0 + n)
    section = ask("what the network is fed", nm.Setup((X, Y), net, inputs=(step,), held_out=0.5))
    assert section.numbers["range"]["largest"] == 1797 - round(1797 / 2)


def test_steps_that_make_nan_are_a_fault():
    step = InputStep("divide", lambda x: (x.std(0),), lambda x, deviation: x / deviation)
    found = said(ask("what the network is fed", nm.Setup((X, Y), net, inputs=(step,))))
    assert found["the input steps make NaN or infinity"].severity == "fault"


def test_inputs_that_are_not_scaled_are_told_before_a_network():
    found = said(ask("what the network is fed", nm.Setup((X * 255, Y), net)))
    assert found["the inputs are not scaled"].practice == "standardise-input"
    assert not said(ask("what the network is fed", (X * 255, Y)))


def test_a_step_that_fails_is_told():
    step = InputStep("odd", lambda x: (x[:0],), lambda x, none: x + none)
    given = read(nm.Setup((X, Y), net, inputs=(step,)))
    with pytest.raises(LookError, match="the input step 'odd' fails"):
        subject(given, None, 0)


def test_sounds_are_playable_and_have_spectrograms():
    torch.manual_seed(0)
    pitch = torch.tensor([0.05, 0.2]).repeat(10)[:, None, None]
    x = torch.sin(torch.arange(4096.0) * pitch) + 0.01 * torch.randn(20, 1, 4096)
    section = ask("what the network is fed", (x, torch.tensor([0, 1]).repeat(10)))
    first, spectra = section.galleries
    assert {one.kind for one in first.exhibits} == {"sound"}
    assert {one.kind for one in spectra.exhibits} == {"image"}


def test_text_is_shown_as_text():
    tokens = torch.randint(3, (40, 12), generator=torch.Generator().manual_seed(0))
    data = nm.data("digits").__class__(
        "text", tokens[:, :-1], tokens[:, 1:], "sequence", ("a", "b", " ")
    )
    section = ask("what the network is fed", data)
    assert set(section.galleries[0].exhibits[0].text) <= set("ab ")
    assert section.pictures[0].series[0].x[0] in ("a", "b", "space")


def test_rows_of_a_table_have_their_columns():
    section = ask("what the network is fed", "wine")
    assert "alcohol" in section.numbers["channels"]
    first = section.numbers["first rows"][0]
    assert (first["sample"], first["target"]) == ("row 0", "class_0")
    assert re.fullmatch(r"14\.23 → 1\.\d+", first["alcohol"])


def test_words_in_rows_of_a_table_stay_words():
    given = table(kind=np.array(["old", "new"])[np.arange(178) % 2])
    rows = ask("what the network is fed", (given, "grower")).numbers["first rows"]
    assert [row["kind"] for row in rows[:2]] == ["old", "new"]
    assert rows[0]["c0"] == "14.23"


def test_copies_of_rows_are_shown_with_their_words():
    given = table(kind=np.array(["old", "new"])[np.arange(178) % 2])
    for values in given.values():
        values[4] = values[2]
    (gallery,) = ask("copies", (given, "grower")).galleries
    assert [one.caption for one in gallery.exhibits] == ["row 2 (a) and row 4 (a)"]
    assert "kind: old" in gallery.exhibits[0].text


# -- broken samples -------------------------------------------------------------------------------


def test_nan_infinity_and_missing_targets_are_set_aside_and_told():
    x, y = X.clone(), Y.float() + 0.5
    x[7, 0, 3, 3], x[9, 0, 0, 0], y[11] = float("nan"), float("inf"), float("nan")
    section = ask("broken samples", (x, y))
    found = said(section)
    assert found["samples that hold NaN"].severity == "fault"
    assert "row 7" in found["samples that hold NaN"].seen
    assert "row 9" in found["samples that hold infinity"].seen
    assert "row 11" in found["samples that have no target"].seen
    assert section.numbers["set aside"] == 3
    assert "1 not finite" in section.galleries[0].exhibits[0].text


def test_a_black_image_is_told_and_shown():
    x = X.clone()
    x[42] = 0
    section = ask("broken samples", (x, Y))
    finding = said(section)["images of one colour"]
    assert "row 42" in finding.seen
    assert finding.severity == "warning"
    assert len(section.galleries[0].exhibits) == 1


@pytest.mark.parametrize(
    ("factor", "severity"), [(255.0, "fault"), (1 / 255, "fault"), (2000.0, "warning")]
)
def test_samples_on_another_scale_are_told(factor: float, severity: str):
    x = X.clone()
    x[5:9] *= factor
    finding = said(ask("broken samples", (x, Y)))["samples on different scales"]
    assert finding.severity == severity
    assert "4 of 1,797" in finding.seen


def test_bytes_that_were_scaled_before_are_told():
    stored = (X[:, 0] > 0.5).to(torch.uint8)
    found = said(ask("broken samples", (stored, Y)))
    assert "images of bytes hold 0 and 1 only" in found
    assert not said(ask("broken samples", ((X[:, 0] * 255).to(torch.uint8), Y)))


def test_clipped_sounds_are_told_and_whole_ones_are_not():
    torch.manual_seed(0)
    x = torch.randn(20, 1, 2048).cumsum(2) / 50
    assert not said(ask("broken samples", (x, torch.tensor([0, 1]).repeat(10))))
    clipped = x.clamp(-x.abs().amax(2, keepdim=True) / 2, x.abs().amax(2, keepdim=True) / 2)
    assert "clipped sounds" in said(
        ask("broken samples", (clipped, torch.tensor([0, 1]).repeat(10)))
    )


# -- copies ---------------------------------------------------------------------------------------


def split(file: Path, x_test: torch.Tensor, y_test: torch.Tensor) -> Path:
    np.savez(file, x_train=X[:1300], y_train=Y[:1300], x_test=x_test, y_test=y_test)
    return file


def test_rows_copied_across_the_split_are_a_fault(tmp_path: Path):
    x, y = X[1300:].clone(), Y[1300:].clone()
    x[:40], y[:40] = X[100:140], Y[100:140]
    section = ask("copies", split(tmp_path / "leak.npz", x, y))
    finding = said(section)["the test part holds copies of training samples"]
    assert finding.severity == "fault"
    assert "40 of 497" in finding.seen
    assert section.numbers["in training and elsewhere"] == {"test": 40}
    assert "equal samples have different targets" not in said(section)


def test_copies_with_other_labels_are_told(tmp_path: Path):
    x, y = X[1300:].clone(), Y[1300:].clone()
    x[:5], y[:5] = X[100:105], (Y[100:105] + 1) % 10
    finding = said(ask("copies", split(tmp_path / "a.npz", x, y)))[
        "equal samples have different targets"
    ]
    assert "5 groups of 10" in finding.seen
    assert "training row 100" in finding.seen
    assert "test row 0" in finding.seen


def test_copies_in_one_part_are_told_by_their_share():
    few = (torch.cat([X, X[:30]]), torch.cat([Y, Y[:30]]))
    many = (torch.cat([X, X[:300]]), torch.cat([Y, Y[:300]]))
    assert said(ask("copies", few))["samples are there more than once"].severity == "note"
    assert said(ask("copies", many))["samples are there more than once"].severity == "warning"


def test_near_copies_are_found_and_distinct_samples_are_not():
    torch.manual_seed(0)
    near = (X[200:206] + 0.004 * torch.randn(6, 1, 8, 8)).clamp(0, 1)
    x, y = torch.cat([X, near]), torch.cat([Y, Y[200:206]])
    section = ask("copies", (x, y))
    assert section.numbers["near copies"] == 6
    assert "row 200" in said(section)["some samples are nearly the same"].seen
    assert ask("copies", (X, Y)).numbers["near copies"] == 0


def test_points_spread_by_chance_are_no_near_copies():
    """In two dimensions some points lie close by chance alone."""
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.rand(1_000, 2, generator=random)
        study = Study(subject(read((x, (x[:, 0] > 0.5).long())), None, 0))
        assert len(copies.near(study)) <= 1


def test_rows_of_few_values_are_equal_by_accident():
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (400, 3), generator=random).float()
    section = ask("copies", (x, torch.randint(0, 2, (400,), generator=random)))
    assert section.numbers["equal by accident"]
    assert {one.severity for one in section.findings} <= {"note"}


# -- columns --------------------------------------------------------------------------------------


def table(**more: Any) -> dict[str, np.ndarray[Any, Any]]:
    wine = nm.data("wine")
    assert isinstance(wine.x, torch.Tensor)
    assert wine.y is not None
    columns = {f"c{at}": wine.x[:, at].double().numpy() for at in range(5)}
    return {**columns, **more, "grower": np.array(["a", "b", "c"])[wine.y.numpy()]}


def test_constant_and_doubled_columns_are_told():
    given = table(fixed=np.ones(178), again=table()["c1"], metric=table()["c2"] * 2.54 + 1)
    found = said(ask("columns", (given, "grower")))
    assert "fixed" in found["columns that never change"].seen
    assert "c1 = again" in found["columns that are there twice"].seen
    assert "c2 and metric" in found["columns that say the same in another unit"].seen
    assert not said(ask("columns", (table(), "grower")))


def test_columns_that_tell_the_target_are_told():
    wine = nm.data("wine")
    assert wine.y is not None
    codes = wine.y.numpy()
    noise = np.random.default_rng(0).normal(0, 0.02, 178)
    found = said(ask("columns", (table(leak=codes * 3.0 + 1, close=codes + noise), "grower")))
    assert found["a column is the target in another form"].severity == "fault"
    assert "leak" in found["a column is the target in another form"].seen
    assert "close" in found["a column alone tells the target"].seen


def test_a_column_that_tells_a_number_is_told():
    given = table(leak=table()["c0"] * 2 + 1)
    del given["grower"]
    found = said(ask("columns", (given, "c0")))
    assert "leak" in found["a column is the target in another form"].seen


def test_values_for_missing_row_numbers_and_caps_are_told():
    strange = table()["c2"].copy()
    strange[[4, 9]] = -999
    random = np.random.default_rng(0)
    capped = random.normal(0, 1, 178).clip(max=0.8)
    found = said(ask("columns", (table(id=np.arange(178), odd=strange, cap=capped), "grower")))
    assert "-999" in found["odd has values that no other comes near"].seen
    assert "id" in found["a column numbers the rows"].seen
    assert "cap at 0.8" in found["columns that seem to be capped"].seen


def test_images_have_no_columns():
    assert ask("columns", (X, Y)).skipped


# -- outliers, typical samples --------------------------------------------------------------------


def test_a_sample_like_no_other_is_found():
    torch.manual_seed(0)
    x = X.clone()
    x[17] = torch.randint(0, 2, (1, 8, 8)).float() * 3
    section = ask("outliers", (x, Y))
    assert "row 17" in said(section)["samples that are like no other"].seen
    assert not ask("outliers", (X, Y)).findings


def test_a_strange_piece_of_text_is_found():
    random = torch.Generator().manual_seed(0)
    tokens = torch.arange(12).repeat(200, 1) % 4
    tokens = (tokens + torch.randint(0, 4, (200, 1), generator=random)) % 4
    tokens[7] = torch.randint(4, 8, (12,), generator=random)
    data = DIGITS.__class__("text", tokens[:, :-1], tokens[:, 1:], "sequence", tuple("abcdefgh"))
    assert "row 7" in said(ask("outliers", data))["pieces that are like no other"].seen


def test_typical_samples_lie_in_the_middle_of_their_class():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (300, 2)).astype(np.float32)
    x[:150] += 20
    x[3], x[5] = (20, 20), (26, 26)
    section = ask("typical and odd", (x, (np.arange(300) < 150).astype(int)))
    assert "row 5" in section.numbers["odd"]
    assert "row 3" in section.numbers["typical"]


# -- labels ---------------------------------------------------------------------------------------


def flipped(share: float, seed: int = 1) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Digits' labels of which a share is wrong, and which."""
    random = np.random.default_rng(seed)
    rows = random.permutation(len(Y))[: round(share * len(Y))]
    y = Y.numpy().copy()
    y[rows] = (y[rows] + random.integers(1, 10, len(rows))) % 10
    return torch.from_numpy(y), rows


def rated(places: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Precision and recall."""
    right = len(set(places.tolist()) & set(rows.tolist()))
    return right / max(1, len(places)), right / len(rows)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("cleanlab") is None, reason="there is no cleanlab")
def test_precision_and_recall_of_flipped_labels(capsys: pytest.CaptureFixture[str]):
    """What lab/log.md records: five draws of each share."""
    for share in (0.02, 0.05, 0.1):
        both: list[tuple[float, float]] = []
        plain: list[tuple[float, float]] = []
        for seed in range(5):
            y, rows = flipped(share, seed)
            guess = Study(subject(read((X, y)), None, 0)).guess
            assert guess is not None
            assert guess.chances is not None
            both.append(rated(labels.likely(y.numpy(), guess.chances)[0], rows))
            plain.append(rated(labels.sure(y.numpy(), guess.chances), rows))
        with capsys.disabled():
            told = [tuple(np.mean(found, 0).round(3).tolist()) for found in (both, plain)]
            print(f"\n{share:.0%} flipped: with cleanlab {told[0]}, without {told[1]}", both, plain)
        precision, recall = np.mean(both, 0)
        assert precision > 0.9
        assert recall > 0.6


def test_flipped_labels_are_found_and_called_likely():
    y, rows = flipped(0.05)
    section = ask("labels", (X, y))
    finding = said(section)["likely label errors"]
    assert finding.severity == "warning"
    names = {f"row {row}" for row in rows}
    listed = [row["sample"] for row in section.numbers["samples"]]
    assert sum(name in names for name in listed) > 0.9 * len(listed)
    assert len(listed) > 0.6 * len(rows)
    assert section.galleries[0].exhibits[0].caption.startswith(listed[0])


def test_without_cleanlab_the_ranking_is_plain_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(labels, "installed", lambda: False)
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (200, 2)).astype(np.float32)
    y = (np.arange(200) < 100).astype(int)
    x[:100] += 12
    y[3] = 0
    section = ask("labels", (x, y))
    assert section.numbers["method"] == "self-confidence"
    assert "pip install cleanlab" in " ".join(section.says)
    assert [row["sample"] for row in section.numbers["samples"]] == ["row 3"]


def test_classes_that_overlap_are_not_called_wrong():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (600, 3)).astype(np.float32)
    y = (x[:, 0] + random.normal(0, 2, 600) > 0).astype(int)
    assert not [one for one in ask("labels", (x, y)).findings if one.severity != "note"]


def test_a_number_far_from_what_is_expected_is_told():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (300, 2)).astype(np.float32)
    y = x @ np.array([1.0, 2.0]) + random.normal(0, 0.1, 300)
    y[5] += 30
    assert "row 5" in said(ask("labels", (x, y)))["targets far from what similar samples have"].seen


# -- scores, network ------------------------------------------------------------------------------


def test_a_class_that_is_much_harder_is_told():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (400, 2)).astype(np.float32)
    y = np.repeat([0, 1, 2], [200, 100, 100])
    x[:200] += 10
    section = ask("scores by class and group", (x, y))
    assert section.numbers["class"]["0"]["score"] > 0.95
    assert section.numbers["all"]["score"] < 0.85
    assert "by class" in section.findings[0].message
    assert [picture.title for picture in section.pictures] == ["Scores by class"]


def test_groups_and_values_of_a_column_are_scored():
    setup = nm.Setup((X, Y), net, split="group", groups=np.arange(1797) % 3)
    assert len(ask("scores by class and group", setup).numbers["group"]) == 3
    given = table(kind=np.array(["old", "new"])[np.arange(178) % 2])
    section = ask("scores by class and group", (given, "grower"))
    assert section.numbers["kind"]["old"]["samples"] == 89


def test_the_network_is_looked_at_fresh_and_after_a_short_training():
    section = ask("the network", nm.Setup((X, Y), net, epochs=3))
    assert section.numbers["fresh"]["parameters"] == 650
    assert section.numbers["fresh"]["loss of guessing"] == pytest.approx(np.log(10))
    assert section.numbers["trained"]["value"] > 0.5
    assert len(section.numbers["trained"]["by class"]) == 10


def test_networks_that_start_sure_give_nan_or_do_not_fit_are_told():
    def sure(form: Form) -> nn.Module:
        model = net(form)
        nn.init.normal_(model[1].weight, std=50.0)
        return model

    class Broken(nn.Module):
        def __init__(self, form: Form) -> None:
            super().__init__()
            self.inner = net(form)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) / 0 * 0

    wrong = nm.Setup((X, Y), lambda _: nn.Linear(3, 10))
    assert "the first loss is far above that of guessing" in said(
        ask("the network", nm.Setup((X, Y), sure))
    )
    assert "the fresh network gives NaN or infinity" in said(
        ask("the network", nm.Setup((X, Y), Broken))
    )
    assert "the network does not take the data" in said(ask("the network", wrong))
    assert ask("the network", (X, Y)).skipped


# -- what may be named ----------------------------------------------------------------------------


def test_a_setup_in_a_file_is_looked_at(tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "import nomagic as nm\nfrom torch import nn\n"
        "setup = nm.Setup('wine', lambda form: nn.Linear(13, 3), name='mine')\n"
    )
    found = read(str(tmp_path / "mine.py"))
    assert {name: len(rows) for name, rows in found.parts.items()} == {
        "training": 134, "validation": 44,
    }  # fmt: skip
    assert found.setup is not None


class Items(Dataset[Any]):
    """Items with faults, and with augmentation."""

    classes = ("even", "odd")

    def __init__(self, varied: bool = False) -> None:
        self.varied = varied

    def __len__(self) -> int:
        return 60

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if row == 4:
            raise OSError("the file is gone")
        x = torch.full((1, 8, 8), row / 60) * torch.linspace(0, 1, 8)
        if row == 6:
            x = x[:, :4]
        if row == 8:
            x = x / 0
        return (x + torch.rand(1) if self.varied else x), row % 2


def test_items_of_a_dataset_may_be_faulty():
    found = read(Items())
    told = {one.what: one.first for one in found.broken}
    assert told["cannot be read (OSError: the file is gone)"] == ("row 4",)
    assert told["have another shape than (1, 8, 8)"] == ("row 6",)
    assert "row 8" in told["hold infinity"]
    assert len(found.data) == 57
    assert found.data.labels == ("even", "odd")
    assert not found.remarks
    assert "augmentation" in read(Items(varied=True)).remarks[0]


def image(file: Path, row: int, size: int = 8) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = (X[row, 0] * 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).resize((size, size)).save(file)


def test_a_folder_of_images_by_class(tmp_path: Path):
    for row in range(40):
        image(tmp_path / f"is {int(Y[row])}" / f"{row}.png", row)
    (tmp_path / "is 3" / "gone.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "is 3" / "notes.txt").write_text("not an image")
    found = read(tmp_path)
    assert found.data.labels == tuple(f"is {digit}" for digit in range(10))
    assert found.broken[0].first == ("is 3/gone.png",)
    assert len(found.data) == 40
    assert torch.equal(
        found.data.batch(torch.arange(1))[0][0], (X[0] * 255).to(torch.uint8).float() / 255
    ) == (found.names[0] == "is 0/0.png")


def test_a_folder_with_a_split_and_several_sizes(tmp_path: Path):
    for row in range(40):
        part = "train" if row < 30 else "test"
        image(tmp_path / part / str(int(Y[row]) % 2) / f"{row}.png", row, 8 if row % 2 else 200)
    found = read(tmp_path)
    assert {name: len(rows) for name, rows in found.parts.items()} == {"training": 30, "test": 10}
    assert "2 sizes" in found.data.remarks[0]
    assert found.data.form.shape == (1, 64, 64)


def sound(file: Path, rate: int, samples: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(rate)
        tone = np.sin(np.arange(samples) * 0.1 * (1 + samples % 7)) * 20_000
        opened.writeframes(tone.astype("<i2").tobytes())


def test_a_folder_of_sounds(tmp_path: Path):
    for row in range(12):
        sound(tmp_path / ("a" if row % 2 else "b") / f"{row}.wav", 8_000 if row < 10 else 16_000,
              2_000 + row)  # fmt: skip
    (tmp_path / "a" / "empty.wav").write_bytes(b"")
    found = read(tmp_path)
    assert found.rate == 8_000
    assert found.findings[0].message == "the sounds have different sample rates"
    assert found.broken[0].first == ("a/empty.wav",)
    assert found.data.form.shape == (1, 2_011)
    assert "0.25 to 0.25" in found.data.remarks[0]


CSV = "size;colour;name;weight;kind\n" + "\n".join(
    f"{row * 1.5};{'red' if row % 3 else 'blue'};item {row} of many;{row % 7};{'ab'[row % 2]}"
    for row in range(120)
)


def test_a_table_from_a_file(tmp_path: Path):
    file = tmp_path / "goods.csv"
    file.write_text(CSV)
    found = read(file)
    assert found.data.labels == ("a", "b")
    assert "'kind' is taken for the target" in found.remarks[0]
    assert found.columns == ("size", "colour=blue", "colour=red", "weight")
    assert "column:column 'name' holds 120 different texts" in found.broken[0].what
    assert read(file, "size").data.task == "regression"


def test_a_table_with_holes(tmp_path: Path):
    file = tmp_path / "goods.csv"
    lines = CSV.splitlines()
    lines[3], lines[5], lines[8] = "inf;red;x;1;a", "2;red;x;1;", "3;red;x;;a"
    file.write_text("\n".join(lines))
    found = read(file)
    told = {one.what: one.first for one in found.broken}
    assert told["hold infinity (in size)"] == ("row 2",)
    assert told["have no target"] == ("row 4",)
    assert len(found.data) == 118
    assert "weight is missing" in found.columns


def test_a_class_of_one_sample_is_set_aside():
    y = Y.clone()
    y[5] = 77
    found = read((X, y))
    assert len(found.data) == 1796
    assert "the only one of their class (77)" in found.broken[0].what


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npz", None, "cannot be read"),
        ("x.csv", b"only\n1\n2\n", "its first line has 1 column"),
        ("x.csv", b"a,b\n1,2\n3\n", "row 1 has 1 cells, the header 2"),
        ("x.csv", b"a,a\n1,2\n3,4\n", "two columns are called 'a'"),
        ("x.csv", b"a,b\n1,2\n", "it has 1 row)"),
        ("x.csv", b"\xff\xfe,b\n1,2\n", "is no table"),
        ("x.doc", b"", "the kind of"),
    ],
)
def test_files_that_cannot_be_used_are_told(
    name: str, content: bytes | None, said: str, tmp_path: Path
):
    file = tmp_path / name
    if content is None:
        np.savez(file, x=np.array([{}], dtype=object))
    else:
        file.write_bytes(content)
    with pytest.raises((LookError, DataError), match=re.escape(said)):
        read(file)


def test_damaged_files_are_told(tmp_path: Path):
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    whole = (tmp_path / "whole.npz").read_bytes()
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 5_000, mtime=0)
    damaged = {
        "cut.npz": whole[: len(whole) // 2],
        "changed.npz": whole[:4_000] + bytes(500) + whole[4_500:],
        "text.npz": b"not a zip",
        "cut.csv.gz": packed[: len(packed) // 2],
        "changed.csv.gz": packed[:12] + b"\xff" * 12 + packed[24:],
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LookError, match=r"cannot be read|is no table") as told:
            read(tmp_path / name)
        assert "allow_pickle" not in str(told.value)


def test_a_single_number_is_no_array_of_samples(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.float32(3))
    with pytest.raises(DataError, match="x of x is a single ndarray; expected an array with one"):
        read(tmp_path / "x.npy")
    with pytest.raises(DataError, match="y of data is a single int"):
        read((X, 1))


def test_other_bad_input_is_told(tmp_path: Path):
    with pytest.raises(LookError, match="digits"):
        read("digts")
    with pytest.raises(LookError, match=r"no file and no built-in set no/such\.csv"):
        read("no/such.csv")
    with pytest.raises(UnknownSetupError, match=r"there is no file .*none\.py"):
        read("none.py:setup")
    with pytest.raises(LookError, match="no images and no wavs"):
        read(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    with pytest.raises(LookError, match="no column 'c'"):
        read(tmp_path / "t.csv", "c")
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(LookError, match="goes with a table"):
        read(tmp_path / "x.npy", "a")
    np.savez(tmp_path / "odd.npz", p=X, q=Y)
    with pytest.raises(LookError, match="holds p, q"):
        read(tmp_path / "odd.npz")
    with pytest.raises(DataError, match="the lengths differ"):
        read((X, Y[:5]))
    with pytest.raises(LookError, match="0 of 1797 samples"):
        read((X * float("nan"), Y))


def test_inputs_without_targets_are_looked_at(tmp_path: Path):
    np.save(tmp_path / "x.npy", X[:200])
    found = look(tmp_path / "x.npy")
    assert found.context["task"] == "none"
    skipped = {section.name for section in found.sections if section.skipped}
    assert {"labels", "scores by class and group", "the network"} <= skipped


# -- as a whole -----------------------------------------------------------------------------------


def test_what_is_drawn_is_drawn_again():
    assert torch.equal(chosen(1000, 1, 50, 3), chosen(1000, 1, 50, 3))
    assert not torch.equal(chosen(1000, 1, 50, 3), chosen(1000, 1, 50, 4))
    assert len(chosen(10_000_000, 1_000_000, None, 0)) == 200


def test_samples_are_limited_and_that_is_said():
    found = look((X, Y), samples=300)
    assert found.context["looked at closely"] == 300
    assert "300 of 1,797 samples were looked at closely" in found.remarks[0]


def test_the_same_look_says_the_same():
    one, two = (look("wine", seed=3) for _ in range(2))
    assert one.sections[:-1] == two.sections[:-1]


def test_a_question_that_fails_does_not_cost_the_others(monkeypatch: pytest.MonkeyPatch):
    from nomagic.looking import run

    def fails(_: Study) -> Section:
        raise RuntimeError("odd")

    monkeypatch.setattr(run, "QUESTIONS", (("first", fails), *QUESTIONS[:1]))
    found = look((X[:100], Y[:100]))
    assert "RuntimeError: odd" in found.sections[0].skipped
    assert found.sections[1].says


def test_tokens_are_counted_alone_and_in_pairs():
    found = counted(torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1]]))
    assert found.square().sum(1).tolist() == pytest.approx([7, 7])
    assert not torch.equal(found[0], found[1])


def test_facts_of_a_fit_and_a_look_are_the_same():
    assert facts.classes("binary", torch.tensor([0.0, 1, 1]), ()) == {"no": 1, "yes": 2}
    assert facts.rare({"a": 100, "b": 9, "c": 10}) == ["b"]
    keys = facts.keys(torch.tensor([[1.0, 2], [3, 4], [1, 2]]))
    assert facts.repeated(keys) == 1
    assert facts.constant(torch.tensor([[1.0, 2], [1, 3]])) == 1


# -- reports --------------------------------------------------------------------------------------


def printed(found: Survey, width: int = 80, **options: Any) -> str:
    import io

    out = io.StringIO()
    show(found, console(out, width=width, **options), "report: x.html")
    return out.getvalue()


LEAK = Finding(
    "the test part holds copies", "2 of 3", "drop them", "fault", practice="no-duplicates"
)
PAIRS = Gallery("Pairs", "Side by side.", (Exhibit("row 1", "text", text="a: 1"),))
FAULTY = Survey(
    "planted",
    Form("classification", (1, 8, 8), 10),
    (
        Section("what there is", ("3 samples.",)),
        Section(
            "copies",
            ("2 are copies.",),
            (Finding("b", "seen b", "fix b", "note"), LEAK),
            {"copies": 2, "share": float("nan")},
            galleries=(PAIRS,),
        ),
        Section("labels", skipped="there are no labels"),
    ),
    {"samples": 3, "task": "classification"},
    ("3 of 9 samples were looked at",),
)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_terminal_says_it_all_in_its_width(width: int):
    text = printed(FAULTY, width)
    for word in (
        "planted",
        "copies",
        "fix b",
        "drop them",
        "there are no labels",
        "report: x.html",
    ):
        assert word in text
    assert text.index("drop them") < text.index("fix b")
    assert "1 fault, 1 note; 1 question not asked" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_the_report_for_machines_is_strict_json():
    read_back = json.loads(survey.dumps(FAULTY, "0.1.0"))
    assert read_back["schema"] == 1
    assert read_back["sections"][1]["numbers"] == {"copies": 2, "share": None}
    assert read_back["sections"][1]["findings"][1]["practice"] == "no-duplicates"
    assert read_back["sections"][1]["samples"][0]["text"] == "a: 1"
    assert survey.schema()["$ref"] == "#/$defs/Report"


def test_the_page_says_and_shows_it_all():
    page = html.look(FAULTY, nm.catalog.load(), "0.1.0")
    for word in ("the test part holds copies", "Pairs", "Side by side.", "a: 1", "not asked"):
        assert word in page
    assert page.index("drop them") < page.index("fix b")
    assert "Look for duplicate examples" in page


def test_a_page_holds_no_more_than_it_may():
    large = Exhibit("large", "image", b"\x89PNG" + bytes(700_000), "it")
    gallery = Gallery("many", "large ones", (large,) * 6)
    page = html.look(Survey("x", FAULTY.form, (Section("s", galleries=(gallery,)),)))
    assert page.count("<img") == 2
    assert len(page) < 3_000_000


def test_hostile_names_stay_words():
    exhibits = (Exhibit(HOSTILE, "text", text=HOSTILE),)
    section = Section(
        HOSTILE, (HOSTILE,), (Finding(HOSTILE, HOSTILE, HOSTILE, "fault", None, HOSTILE),),
        {HOSTILE: HOSTILE}, galleries=(Gallery(HOSTILE, HOSTILE, exhibits),), skipped=HOSTILE,
    )  # fmt: skip
    found = Survey(HOSTILE, FAULTY.form, (section,), {HOSTILE: HOSTILE}, (HOSTILE,))
    page = html.look(found, (), HOSTILE)
    assert page.count("<script") == 1
    assert "<img" not in page
    assert not re.search("[\u202e\x00\x1b\ud800]", page)
    assert not re.search("[\u202e\x00\x1b]", printed(found))
    json.loads(survey.dumps(found, HOSTILE))


def test_the_command_writes_what_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOMAGIC_LOOK_NO_HTML")
    Path("goods.csv").write_text(CSV)
    done = CliRunner().invoke(main, ["look", "goods.csv", "--target", "kind", "--json", "out.json"])
    assert done.exit_code == 0, done.output
    assert "report: nomagic-report/index.html, report: out.json" in " ".join(done.output.split())
    assert "nomagic look goods" in Path("nomagic-report/index.html").read_text(encoding="utf-8")
    assert json.loads(Path("out.json").read_text(encoding="utf-8"))["subject"] == "goods"
    Path("nomagic-report/index.html").unlink()
    CliRunner().invoke(main, ["look", "goods.csv", "--no-html"])
    assert not Path("nomagic-report/index.html").exists()


@pytest.mark.parametrize("named", ["digts", "no/such.csv"])
def test_the_command_tells_bad_input(named: str):
    done = CliRunner().invoke(main, ["look", named])
    assert done.exit_code == 2
    assert f"nomagic cannot look at {named}" in done.output
