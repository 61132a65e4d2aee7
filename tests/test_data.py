"""Data of every kind becomes one value; what cannot be used is told with what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from nomagic.datasets import Data, DataError, as_data, check_split, data
from nomagic.datasets.builtin import NAMES

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
FOLDER = os.environ.get("NOMAGIC_DATA", "")
FILES = {
    "mnist": ((1, 28, 28), 10, 70_000),
    "fashion-mnist": ((1, 28, 28), 10, 70_000),
    "cifar10": ((3, 32, 32), 10, 30_000),
    "fsdd": ((1, 4_096), 10, 3_000),
    "adult": ((108,), 2, 48_842),
    "california-housing": ((14,), 1, 20_640),
    "tinyshakespeare": ((64,), 65, 17_428),
    "names": ((32,), 27, 6_603),
    "etth1": ((7, 96), 24, 14_281),
}


class Items(Dataset[Any]):
    """Items made on demand, counting how many were."""

    def __init__(self, y: Any, **attributes: Any) -> None:
        self.y, self.made = y, 0
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Tensor, Any]:
        self.made += 1
        return torch.full((2, 3), float(row)), self.y[row]


# -- which task -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("y", "task", "outputs", "labels"),
    [
        ([0, 1, 2] * 4, "classification", 3, ()),
        ([[0], [1]] * 6, "classification", 2, ()),
        ([1, 2] * 6, "classification", 2, ("1", "2")),
        ([-1, 1] * 6, "classification", 2, ("-1", "1")),
        ([True, False] * 6, "classification", 2, ("False", "True")),
        (["cat", "dog", "cow"] * 4, "classification", 3, ("cat", "cow", "dog")),
        (np.array(["a", "b"] * 6, dtype=object), "classification", 2, ("a", "b")),
        (np.eye(3)[[0, 1, 2] * 4], "classification", 3, ()),
        (np.array([0.0, 1.0] * 6), "binary", 1, ()),
        (np.array([[1, 1, 0], [0, 0, 1]] * 6), "multi-label", 3, ()),
        (np.array([[1, 1, 0], [0, 0, 1]] * 6, np.uint8), "multi-label", 3, ()),
        (np.array([[True, True], [False, True]] * 6), "multi-label", 2, ()),
        (np.array([0, 1, 2] * 4, np.uint8), "classification", 3, ()),
        (np.linspace(0, 1, 12), "regression", 1, ()),
        (torch.randn(12, 5), "regression", 5, ()),
        (torch.randn(12, 5).bfloat16(), "regression", 5, ()),
    ],
)
def test_the_task_is_told_from_the_targets(y: Any, task: str, outputs: int, labels: Any):
    found = as_data((X, y))
    assert (found.task, found.form.outputs, found.labels) == (task, outputs, labels)
    assert found.form.shape == (3,)
    targets = found.batch(torch.arange(12))[1]
    assert targets.dtype == (torch.int64 if task == "classification" else torch.float32)


def test_names_of_classes_go_with_their_numbers():
    found = as_data((X, ["b", "a", "c"] * 4))
    assert found.y is not None
    assert [found.labels[code] for code in found.y[:3]] == ["b", "a", "c"]


def test_the_task_can_be_named():
    assert as_data((X, [0, 1] * 6), task="binary").form.outputs == 1
    assert as_data((X, ["no", "yes"] * 6), task="binary").labels == ("no", "yes")
    assert as_data((X, list(range(12))), task="regression").task == "regression"
    found = as_data((X, [0, 1] * 6), labels=("none", "some", "all"))
    assert found.form.outputs == 3
    one_hot = as_data((X, np.eye(3)[[0, 1, 2] * 4]), task="multi-label")
    assert one_hot.task == "multi-label"


def test_tokens_with_their_followers_are_a_sequence():
    tokens = torch.randint(0, 9, (6, 8), generator=torch.Generator().manual_seed(0))
    tokens[0, 0] = 8
    form = as_data((tokens[:, :-1], tokens[:, 1:])).form
    assert (form.task, form.shape, form.outputs, form.tokens) == ("sequence", (7,), 9, 9)


# -- what the network gets ------------------------------------------------------------------------
def test_rows_of_any_shape():
    found = as_data((X, [0, 1] * 6))
    rows = torch.tensor([[0, 5, 5], [11, 2, 1]])
    x, y = found.batch(rows)
    assert torch.equal(x, X[rows])
    assert y.tolist() == (rows % 2).tolist()


@pytest.mark.parametrize("shape", [(12, 5, 4), (12, 1, 5, 4), (12, 5, 4, 1)])
def test_bytes_are_images_between_zero_and_one(shape: tuple[int, ...]):
    pixels = np.arange(240, dtype=np.uint8).reshape(shape)
    found = as_data((pixels, [0, 1] * 6))
    x, _ = found.batch(torch.arange(12))
    assert found.form.shape == (1, 5, 4)
    assert torch.equal(x, torch.arange(240.0).reshape(12, 1, 5, 4) / 255)


def test_colours_come_first():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 8, 9, 3), dtype=np.uint8)
    x, _ = as_data((pixels, [0, 1, 0, 1])).batch(torch.tensor([2]))
    np.testing.assert_allclose(x[0, 1], pixels[2, :, :, 1] / 255, rtol=1e-6)


def test_whole_numbers_are_tokens_and_a_column_is_two_dimensional():
    tokens = [[1, 5, 0], [2, 2, 7]] * 3
    assert as_data((tokens, [0, 1] * 3)).form.tokens == 8
    assert as_data(([[-1, 5], [2, 2]] * 3, [0, 1] * 3)).form.tokens == 0
    assert as_data((np.arange(6.0), [0, 1] * 3)).form.shape == (1,)


def test_big_endian_and_read_only_arrays_and_lists_of_tensors():
    x = np.arange(24, dtype=">f8").reshape(12, 2)
    x.flags.writeable = False
    assert as_data((x, [0, 1] * 6)).batch(torch.tensor([1]))[0].tolist() == [[2.0, 3.0]]
    assert torch.equal(as_data((list(X), [0, 1] * 6)).batch(torch.arange(12))[0], X)


def test_data_is_given_back():
    found = as_data((X, [0, 1] * 6), groups=["a", "b", "c"] * 4, name="mine")
    assert as_data(found) is found
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 2] * 4


# -- Datasets


def test_a_dataset_is_read_on_demand():
    items = Items([0, 1, 2] * 30, targets=[0, 1, 2] * 30)
    found = as_data(items)
    assert (found.form.shape, found.form.outputs) == ((2, 3), 3)
    assert items.made < 20, "the classes are known without reading"
    rows = torch.tensor([[7, 3], [0, 89]])
    x, y = found.batch(rows)
    assert torch.equal(x, rows[..., None, None].expand(2, 2, 2, 3).float())
    assert y.tolist() == (rows % 3).tolist()


def test_the_classes_of_a_dataset():
    assert as_data(Items([0, 1] * 6, classes=["cat", "dog"])).labels == ("cat", "dog")
    assert as_data(Items([0, 1, 2] * 6)).form.outputs == 3
    assert as_data(Items([0.5, 1.5] * 6)).task == "regression"
    part = Subset(Items([0, 1, 2, 2] * 6, targets=[0, 1, 2, 2] * 6), [0, 1, 4, 5])
    assert as_data(part).form.outputs == 2
    pair = as_data(TensorDataset(X, torch.tensor([0, 1] * 6)))
    assert isinstance(pair.x, Tensor)


def test_too_many_items_to_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nomagic.datasets.given.SCANNED", 10)
    with pytest.raises(DataError, match=r"12 items and neither .classes nor .targets"):
        as_data(Items([0, 1] * 6))
    assert as_data(Items([0, 1] * 6), labels=("a", "b")).labels == ("a", "b")


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(X[0], 1)])


class Words(Items):
    def __getitem__(self, row: int) -> Any:
        return {"text": "a", "label": 1}


class Ragged(Items):
    def __getitem__(self, row: int) -> Any:
        return torch.zeros(row + 1), 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Stream(), "IterableDataset; expected a map-style Dataset"),
        (DataLoader(Items([0, 1])), "give loader.dataset"),
        (Items([]), "is empty"),
        (Words([0, 1]), r"a dict with text, label; expected a pair \(x, y\)"),
        (Ragged([0, 1]), "make each one a tensor of one shape"),
        (Items([1, 2] * 6), r"the classes 1, 2…; expected 0, 1, 2"),
        (Items([0, 0, 1]), "1 of 2 classes have a single sample"),
        (Items([float("nan"), 1.0]), "y of the first items holds NaN"),
    ],
)
def test_datasets_that_cannot_be_used(given: Any, told: str):
    with pytest.raises(DataError, match=told):
        as_data(given)


# -- tables ---------------------------------------------------------------------------------------
TABLE = {
    "age": np.array([20.0, np.nan, 40.0, 60.0]),
    "town": np.array(["Ulm", "Bonn", None, "Ulm"], dtype=object),
    "rooms": np.array(["1", "2", "?", "3"]),
    "rent": np.array([1.5, 2.5, 3.5, 4.5]),
    "flag": np.array([True, False, True, True]),
    "sold": np.array(["no", "yes", "no", "yes"]),
}


def test_a_table_is_coded_and_says_so():
    found = as_data((TABLE, "sold"))
    assert (found.task, found.labels) == ("classification", ("no", "yes"))
    x = found.batch(torch.arange(4))[0]
    assert x[:, 0].tolist() == [20, 40, 40, 60], "the median stands for what is missing"
    assert x[:, 1].tolist() == [0, 1, 0, 0], "and where it was is a column"
    assert x[:, 2:5].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert x[:, 5:7].tolist() == [[1, 0], [2, 0], [2, 1], [3, 0]]
    assert x[:, 7:].tolist() == [[1.5, 1], [2.5, 0], [3.5, 1], [4.5, 1]]
    assert found.remarks == (
        "age: 1 missing, filled with the median, 40, and marked",
        "town: one column for each of 3 values, 1 missing being one",
        "rooms: 1 missing, filled with the median, 2, and marked",
    )
    assert as_data((TABLE, "rent")).task == "regression"


def test_a_pandas_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE).astype({"town": "category"})
    ours, theirs = as_data((TABLE, "sold")), as_data((frame, "sold"))
    assert torch.equal(ours.batch(torch.arange(4))[0], theirs.batch(torch.arange(4))[0])


@pytest.mark.parametrize(
    ("change", "target", "told"),
    [
        ({}, "solt", r"no column 'solt', did you mean sold\?"),
        ({"rent": np.array([1.0, np.nan, 2.0, 3.0])}, "rent", r"missing in 1 of 4 rows \(row 1\)"),
        ({"rent": np.array([1.0, np.inf, 2.0, 3.0])}, "sold", r"'rent' holds infinity \(row 1\)"),
        ({"rent": np.full(4, np.nan)}, "sold", "'rent' has no values"),
        ({"rent": np.zeros(4, "datetime64[D]")}, "sold", "turn dates into numbers"),
    ],
)
def test_tables_that_cannot_be_used(change: dict[str, Any], target: str, told: str):
    with pytest.raises(DataError, match=told):
        as_data(({**TABLE, **change}, target))


def test_a_column_of_names_is_no_category():
    names = np.array([f"person {number}" for number in range(300)])
    with pytest.raises(DataError, match="'name' holds 300 different texts in 300 rows"):
        as_data(({"name": names, "y": np.arange(300.0)}, "y"))


# -- what cannot be used --------------------------------------------------------------------------
NANS = torch.where(torch.arange(12)[:, None] % 5 == 0, torch.nan, X)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (5, "the data is int 5; expected a built-in name"),
        ((X, [0, 1]), "12 in x and 2 in y"),
        ((X[:0], []), r"x is empty \(shape \(0, 3\)\)"),
        ((X[:1], np.array([0.5])), "one sample"),
        ((NANS, [0, 1] * 6), r"x holds NaN in 3 of 12 rows \(row 0, 5, 10\)"),
        ((X.clamp(min=1) / 0, [0, 1] * 6), "x holds infinity"),
        ((np.full((12, 1), 1e300), [0, 1] * 6), "too large for float32"),
        ((X, NANS[:, 0]), "y holds NaN in 3 of 12 rows"),
        ((X, [0, None] * 6), r"y is an object array \(6 int, 6 NoneType\)"),
        ((np.array([[1, "a"]] * 12, object), [0, 1] * 6), "x is an object array"),
        ((["a", "b"] * 6, [0, 1] * 6), "x holds <U1 values; expected numbers"),
        (([[1, 2], [3]], [0, 1]), r"x differ in shape \(\(2,\), \(1,\)\)"),
        (([0, 1] * 6, X), "look swapped"),
        ((["a", "b"] * 6, X.numpy()), "look swapped"),
        ((X, ["a", "b", "b", "b"] * 2 + ["b", "b", "b", "c"]), r"1 of 3 classes .* \(c\)"),
        ((X, [3] * 12), "y is 3 for all 12 samples"),
        ((X, [0, 5, 7, 3, 9, 22, 31, 12, 15, 18, 55, 2]), "classes or amounts"),
        ((X, X.long()), "name the task"),
        ((X.to_sparse(), [0, 1] * 6), "expected a dense real tensor"),
        ((X, X.to(torch.complex64)), "expected a dense real tensor"),
        ("digit", r"no built-in data set 'digit', did you mean digits\?"),
    ],
)
def test_what_came_what_was_expected_and_what_to_do(given: Any, told: str):
    with pytest.raises(DataError, match=told):
        as_data(given)


@pytest.mark.parametrize(
    ("y", "options", "told"),
    [
        ([0, 1] * 6, {"task": "clasification"}, r"did you mean classification\?"),
        (np.linspace(0, 1, 12), {"task": "classification"}, "expects whole numbers"),
        ([0, 2] * 6, {"task": "multi-label"}, "expects 0 and 1"),
        ([0, 1] * 6, {"task": "sequence"}, "a sequence expects tokens"),
        (["a", "b"] * 6, {"task": "regression"}, "regression expects numbers"),
        (["a", "b"] * 6, {"labels": ("a", "b", "c")}, "3 labels were given for 2 classes"),
        ([0, 1] * 6, {"groups": [1, 2]}, "12 in data and 2 in groups"),
    ],
)
def test_options_that_do_not_fit(y: Any, options: dict[str, Any], told: str):
    with pytest.raises(DataError, match=told):
        as_data((X, y), **options)


def test_options_do_not_go_with_a_name():
    with pytest.raises(DataError, match="go with arrays"):
        as_data("digits", task="binary")


# -- splits ---------------------------------------------------------------------------------------
def test_classes_missing_from_a_part():
    sorted_classes = as_data((X, [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3))
    rows = torch.arange(12)
    check_split(sorted_classes, rows[::2], rows[1::2])
    with pytest.raises(DataError, match=r"1 class is missing from the training part .* \(3\)"):
        check_split(sorted_classes, rows[:9], rows[::2])
    with pytest.raises(DataError, match="2 classes are missing from the held-out part"):
        check_split(sorted_classes, rows, rows[:6])
    check_split(sorted_classes, rows, rows[:9])  # one rare class may be missed by chance
    with pytest.raises(DataError, match="the held-out part is empty"):
        check_split(sorted_classes, rows, rows[:0])


def test_the_split_of_yes_or_no_and_of_a_dataset():
    yes = as_data((X, np.array([0.0] * 6 + [1.0] * 6)))
    with pytest.raises(DataError, match="held-out"):
        check_split(yes, torch.arange(12), torch.arange(3))
    items = as_data(Items([0] * 6 + [1] * 6, targets=[0] * 6 + [1] * 6))
    with pytest.raises(DataError, match="training"):
        check_split(items, torch.arange(6), torch.arange(12))


# -- built-in sets


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "count"),
    [
        ("digits", (1, 8, 8), 10, 1_797),
        ("wine", (13,), 3, 178),
        ("breast-cancer", (30,), 2, 569),
        ("diabetes", (10,), 1, 442),
    ],
)
def test_the_sets_of_scikit_learn(name: str, shape: tuple[int, ...], outputs: int, count: int):
    found = data(name)
    assert (found.form.shape, found.form.outputs, len(found)) == (shape, outputs, count)
    if name == "diabetes":
        assert found.y is not None
        assert abs(float(found.y.mean())) < 1e-5


@pytest.mark.skipif(not Path(FOLDER, "names.txt").is_file(), reason="NOMAGIC_DATA names no folder")
@pytest.mark.parametrize("name", FILES)
def test_the_sets_of_the_folder(name: str):
    shape, outputs, count = FILES[name]
    if not Path(FOLDER, "mnist.npz").is_file():
        pytest.skip("the folder is not complete")
    found = data(name, FOLDER)
    assert (found.form.shape, found.form.outputs, len(found)) == (shape, outputs, count)
    x, y = found.batch(torch.arange(6).reshape(2, 3))
    assert x.shape == (2, 3, *shape)
    assert y.isfinite().all()
    if found.test_rows is not None:
        train, held = found.test_rows
        assert not set(train.tolist()) & set(held.tolist())
        check_split(found, train, held)


def test_every_built_in_set_is_covered():
    assert set(NAMES) == {*FILES, "digits", "wine", "breast-cancer", "diabetes"}


def test_a_missing_folder_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOMAGIC_DATA", raising=False)
    with pytest.raises(DataError, match=r"no folder is named. Put fsdd.npz .* NOMAGIC_DATA"):
        data("fsdd")
    with pytest.raises(DataError, match="there is no folder"):
        data("fsdd", tmp_path / "nowhere")
    (tmp_path / "adult_train.csv.gz").write_bytes(b"")
    monkeypatch.setenv("NOMAGIC_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"has no ETTh1.csv"):
        data("etth1")


def test_a_file_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"names in .* cannot be read \(UnicodeDecodeError"):
        data("names", tmp_path)
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"mnist in .* cannot be read \(BadZipFile"):
        data("mnist", tmp_path)


def test_libraries_that_are_not_installed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for library in ("torchvision.datasets", "torchvision", "datasets"):
        monkeypatch.setitem(sys.modules, library, None)
    told = r"has no mnist.npz; torchvision is not installed; datasets is not installed. Put"
    with pytest.raises(DataError, match=told):
        data("mnist", tmp_path)


def test_a_text_is_cut_into_pieces_that_follow_one_another(tmp_path: Path):
    (tmp_path / "tinyshakespeare.txt").write_text("to be or not to be " * 20)
    found = data("tinyshakespeare", tmp_path)
    x, y = found.batch(torch.arange(2))
    spelled = "".join(found.labels[code] for code in x.flatten())
    assert spelled == ("to be or not to be " * 20)[:128]
    assert torch.equal(x.flatten()[1:], y.flatten()[:-1])


def test_a_forecast_sees_the_past_only(tmp_path: Path):
    lines = "\n".join(f"2016,{hour},{hour % 7},0.{hour % 10}" for hour in range(15_000))
    (tmp_path / "ETTh1.csv").write_text("date,a,b,OT\n" + lines)
    found = data("etth1", tmp_path)
    x, y = found.batch(torch.tensor([0, 1]))
    assert torch.equal(x[1, -1, -1], y[0, 0])
    assert isinstance(found, Data)
    assert found.test_rows is not None
    train, held = found.test_rows
    assert int(train[-1]) + 96 + 24 <= int(held[0]) + 96, "targets of the parts do not overlap"


class Columns(Dataset):  # type: ignore[type-arg]
    """Items as Hugging Face datasets gives them: a dict of columns, pictures as such."""

    def __init__(self, **columns: list[object]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row: int) -> dict[str, object]:
        return {name: column[row] for name, column in self.columns.items()}


def test_items_that_are_dicts_of_an_input_and_a_label_are_pairs():
    pictures: list[object] = [np.full((8, 6, 3), n, dtype=np.uint8) for n in range(10)]
    found = as_data(Columns(image=pictures, label=[n % 2 for n in range(10)]))
    assert found.form.shape == (3, 8, 6)
    assert found.form.outputs == 2
    x, y = found.batch(torch.tensor([3, 4]))
    assert float(x[0, 0, 0, 0]) == pytest.approx(3 / 255)
    assert y.tolist() == [1, 0]
    vectors: list[object] = [[0.5, float(n)] for n in range(10)]
    assert as_data(Columns(y=[n % 2 for n in range(10)], x=vectors)).form.shape == (2,)


@pytest.mark.parametrize("columns", [("text", "other", "label"), ("left", "right"), ("label",)])
def test_items_of_other_columns_are_told(columns: tuple[str, ...]):
    given = Columns(**{name: [0, 1, 0] for name in columns})
    with pytest.raises(DataError, match=r"dicts with .*; expected two columns"):
        as_data(given)


def test_a_target_that_came_standardised_knows_its_unit():
    from sklearn.datasets import load_diabetes

    found = data("diabetes")
    assert found.y is not None
    assert found.unit is not None
    mean, deviation = found.unit
    own = found.y.double() * deviation + mean
    torch.testing.assert_close(own, torch.from_numpy(load_diabetes().target), atol=1e-3, rtol=0)
    assert found.subset(torch.arange(5)).unit == found.unit
