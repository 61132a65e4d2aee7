"""Files become inputs of a model, and predictions become rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import wave
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nomagic.datasets import DataError, as_data
from nomagic.engine.plan import Plan
from nomagic.fitting import inputs
from nomagic.fitting.fitted import Fitted, Span
from nomagic.fitting.quality import Noise
from nomagic.parts import nets
from nomagic.words import Setup


def fresh(data: Any, model: Any = None, **others: Any) -> Fitted:
    """A model that has learnt nothing."""
    plan = Plan(Setup(data, model or partial(nets.mlp, width=4, depth=1)))
    return Fitted.of(plan, 0, [plan.model(one) for one in plan.members([0])], **others)


def rows(prediction: Any, fitted: Fitted, **given: Any) -> list[dict[str, str]]:
    """What is written as a table."""
    out = io.StringIO()
    inputs.write(prediction, out, fitted.form, **given)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


# -- files ----------------------------------------------------------------------------------------


def test_arrays(tmp_path: Path):
    fitted, x = fresh("digits"), as_data("digits").x[:4].numpy()
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", other=x[:1], x=x)
    np.savez(tmp_path / "c.npz", other=x)
    for name in ("a.npy", "b.npz", "c.npz"):
        assert np.array_equal(inputs.read(tmp_path / name, fitted).x, x)
    np.savez(tmp_path / "d.npz", a=x, b=x)
    with pytest.raises(DataError, match="holds a, b; expected an array called x"):
        inputs.read(tmp_path / "d.npz", fitted)
    np.save(tmp_path / "e.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="without pickle"):
        inputs.read(tmp_path / "e.npy", fitted)
    whole = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "f.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        inputs.read(tmp_path / "f.npz", fitted)


def test_tables(tmp_path: Path):
    random = np.random.default_rng(0)
    frame = {"age": random.normal(size=20), "work": np.array(["a", "b"] * 10)}
    target = np.array(["no", "yes"] * 10)
    fitted = fresh(({**frame, "rich": target}, "rich"))
    lines = ["age,work,rich", *(f"{a!r},{w}," for a, w in zip(*frame.values(), strict=True))]
    text = "\n".join(lines).replace("np.float64(", "").replace(")", "")
    (tmp_path / "a.csv").write_text(text)
    with gzip.open(tmp_path / "b.csv.gz", "wt") as out:
        out.write(text)
    wanted = fitted.predict(frame).mean
    for name in ("a.csv", "b.csv.gz"):
        assert np.array_equal(fitted.predict(inputs.read(tmp_path / name, fitted).x).mean, wanted)
    (tmp_path / "c.csv").write_text("age,work\n1,2\n3")
    with pytest.raises(DataError, match="is no table"):
        inputs.read(tmp_path / "c.csv", fitted)


def test_a_table_for_a_model_of_arrays(tmp_path: Path):
    fitted = fresh("wine")
    x = as_data("wine").x[:3].numpy()
    head = ",".join(f"c{k}" for k in range(13))
    np.savetxt(tmp_path / "a.csv", x, delimiter=",", header=head, comments="")
    assert np.allclose(inputs.read(tmp_path / "a.csv", fitted).x, x)
    (tmp_path / "b.csv").write_text("a,b\n1,2")
    with pytest.raises(DataError, match=r"has 2 columns .* takes 13 numbers"):
        inputs.read(tmp_path / "b.csv", fitted)
    (tmp_path / "c.csv").write_text(head + "\n" + ",".join(["x"] * 13))
    with pytest.raises(DataError, match="holds text"):
        inputs.read(tmp_path / "c.csv", fitted)


def test_images(tmp_path: Path):
    fitted = fresh("digits")
    raw = (as_data("digits").x[:3] * 255).to(torch.uint8)
    for number, image in enumerate(raw.numpy()):
        Image.fromarray(image[0]).save(tmp_path / f"{number}.png")
    found = inputs.read(tmp_path, fitted)
    assert found.names == ("0.png", "1.png", "2.png")
    assert np.array_equal(fitted.predict(found.x).mean, fitted.predict(raw).mean)
    one = inputs.read(tmp_path / "1.png", fitted)
    assert torch.equal(one.x, raw[1:2].float() / 255)
    Image.new("RGB", (9, 8)).save(tmp_path / "3.png")
    with pytest.raises(DataError, match=r"3.png has 9 x 8 pixels; .* trained on 8 x 8"):
        inputs.read(tmp_path, fitted)
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        inputs.read(tmp_path / "3.png", fitted)


def sound(file: Path, samples: Any, wide: int = 2, channels: int = 1) -> None:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(wide)
        out.setframerate(8_000)
        out.writeframes(np.asarray(samples).tobytes())


def test_waveforms(tmp_path: Path):
    x = torch.randn(10, 1, 6, generator=torch.Generator().manual_seed(0))
    fitted = replace(fresh((x, torch.arange(10) % 2)), span=None)
    sound(tmp_path / "a.wav", np.array([0, 16384, -32768, 0], "<i2"))
    sound(tmp_path / "b.wav", np.array([[128, 192]] * 8, "u1"), wide=1, channels=2)
    found = inputs.read(tmp_path, fitted)
    assert found.x[:, 0].tolist() == [[0, 0.5, -1, 0, 0, 0], [0.25] * 6]
    assert found.remarks == (
        "a.wav has 4 samples, filled with silence to 6",
        "b.wav has 8 samples, cut to 6",
    )
    full = inputs.read(tmp_path / "b.wav", replace(fitted, span=Span(1.0, 1.0)))
    assert full.x[0, 0].tolist() == [1.0] * 6
    assert "peak of 1" in full.remarks[-1]
    with pytest.raises(DataError, match="these are waveforms"):
        inputs.read(tmp_path / "a.wav", fresh("wine"))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="cannot be read"):
        inputs.read(tmp_path / "a.wav", fitted)


def test_texts(tmp_path: Path):
    x = torch.randint(3, (20, 5), generator=torch.Generator().manual_seed(0))
    data = as_data((x[:, :-1], x[:, 1:]), labels=tuple("abc"))
    fitted = fresh(data, partial(nets.Transformer, width=8, depth=1, heads=2))
    (tmp_path / "a.txt").write_text("abcabcabca")
    found = inputs.read(tmp_path / "a.txt", fitted)
    assert found.x.tolist() == [[2, 0, 1, 2], [0, 1, 2, 0]]
    assert found.names == ("2-6", "6-10")
    assert found.remarks == ("the first 2 characters are left out",)
    (row, _) = rows(fitted.predict(found.x), fitted, names=found.names)
    assert row["sample"] == "2-6"
    assert row["predicted"] in "abc"
    assert sum(float(row[f"p({letter})"]) for letter in "abc") == pytest.approx(1, abs=1e-4)
    (tmp_path / "a.txt").write_text("abcd")
    with pytest.raises(DataError, match="holds 'd', which the model has never seen"):
        inputs.read(tmp_path / "a.txt", fitted)
    (tmp_path / "a.txt").write_text("ab")
    with pytest.raises(DataError, match="takes 4 at least"):
        inputs.read(tmp_path / "a.txt", fitted)


def test_built_in_names_and_nothing(tmp_path: Path):
    fitted = fresh("digits")
    assert len(fitted.predict(inputs.read("digits", fitted).x)) == 1797
    for strange, told in (
        ("digit", "there is no file digit"),
        (tmp_path, "has no images"),
        (__file__, "the kind of .* is not known"),
    ):
        with pytest.raises(DataError, match=told):
            inputs.read(strange, fitted)


# -- rows -----------------------------------------------------------------------------------------


def test_rows_of_classes(tmp_path: Path):
    fitted = fresh("wine", threshold=0.9)
    found = fitted.predict(as_data("wine").x[:5])
    table = rows(found, fitted)
    assert list(table[0])[:7] == [
        "sample",
        "predicted",
        "probability",
        "spread",
        "entropy",
        "information",
        "accepted",
    ]
    for number, row in enumerate(table):
        assert row["predicted"] == found.labels[number]
        assert float(row["probability"]) == pytest.approx(found.mean[number].max(), rel=1e-5)
        assert float(row[f"p({row['predicted']})"]) == float(row["probability"])
        assert row["accepted"] == str(bool(found.accepted[number]))
    inputs.write(found, tmp_path / "out.csv", fitted.form)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6
    inputs.write(found, tmp_path / "out.json", fitted.form, kind="json")
    lines = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    assert [line["predicted"] for line in lines] == found.labels.tolist()


def test_rows_of_other_tasks(capsys: pytest.CaptureFixture[str]):
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    yes = fresh((x, (x[:, 0] > 0).float()))
    found = yes.predict(x)
    for row, chance in zip(rows(found, yes), found.mean, strict=True):
        assert float(row["p(1)"]) == pytest.approx(chance, rel=1e-4)
        assert row["predicted"] == str(int(chance > 0.5))
    several = fresh((x, (x > 0).float()))
    found = several.predict(x)
    for row, chances in zip(rows(found, several), found.mean, strict=True):
        assert row["predicted"] == " ".join(str(k) for k in range(3) if chances[k] > 0.5)
    numbers = fresh((x, x[:, 0].clone()), noise=Noise((1.0,), (2.0,)))
    inputs.write(numbers.predict(x), None, numbers.form)
    (first, *_) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(first) == ["sample", "predicted", "spread", "low", "high", "accepted"]
    assert float(first["high"]) - float(first["low"]) == pytest.approx(4, rel=1e-4)
    pairs = fresh((x, x[:, :2].clone()))
    assert list(rows(pairs.predict(x), pairs)[0])[1:3] == ["predicted 0", "predicted 1"]
