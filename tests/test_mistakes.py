"""What a model gets wrong: counts, sentences and exhibits, on answers made by hand."""

import numpy as np
import pytest
import torch

from nomagic.datasets import Data
from nomagic.fitting.stages import mistakes
from nomagic.fitting.stages.mistakes import Mistakes
from nomagic.words import Picture

LABELS = ("cat", "dog", "<b>fox</b>")
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TRUE = torch.tensor([0, 0, 1, 1, 2, 2])
SAID = torch.tensor([0, 1, 1, 0, 0, 2])
SURE = (3.0, 1.0, 3.0, 9.0, 5.0, 3.0)


def logits(said: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(said, 3) * torch.tensor(SURE)[:, None]


def images(said: torch.Tensor = SAID) -> Mistakes:
    data = Data("pets", IMAGES, TRUE, "classification", LABELS)
    return mistakes.of(data, logits(said), TRUE)


def table(picture: Picture) -> list[list[float]]:
    return [list(series.y) for series in picture.series]


def test_what_is_taken_for_what_is_counted():
    (picture,) = images().pictures
    assert [series.name for series in picture.series] == list(LABELS)
    assert table(picture) == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]


def test_the_surest_mistakes_come_first():
    (gallery,) = images().galleries
    assert [one.caption.rpartition(",")[0] for one in gallery.exhibits] == [
        "is dog, said cat", "is <b>fox</b>, said cat", "is cat, said dog",
    ]  # fmt: skip
    assert all(one.media.startswith(b"\x89PNG") for one in gallery.exhibits)


def test_a_temperature_makes_it_less_sure():
    data = Data("pets", IMAGES, TRUE, "classification", LABELS)
    cold, hot = (
        mistakes.of(data, logits(SAID), TRUE, heat).galleries[0].exhibits[0] for heat in (1, 10)
    )
    assert ("100 % sure" in cold.caption, "100 % sure" in hot.caption) == (True, False)


def test_without_mistakes_the_closest_calls_are_shown():
    found = images(TRUE)
    (gallery,) = found.galleries
    assert found.says == ("No answer is wrong on the test samples.",)
    assert gallery.title == "The closest calls"
    assert gallery.exhibits[0].caption.startswith("cat: right")


def test_yes_or_no_has_a_map_of_two():
    data = Data("b", torch.randn(4, 3), torch.tensor([0.0, 1, 1, 0]), "binary")
    found = mistakes.of(data, torch.tensor([-1.0, 2, -3, -1]), torch.tensor([0.0, 1, 1, 0]))
    assert table(found.pictures[0]) == [[2, 0], [1, 1]]
    assert found.galleries[0].exhibits[0].caption == "is yes, said no, 95 % sure"


def test_of_many_classes_those_with_mistakes_are_drawn():
    true = torch.arange(200)
    said = true.clone()
    said[150] = 7
    data = Data("many", torch.randn(200, 4), true, "classification")
    found = mistakes.of(data, torch.nn.functional.one_hot(said, 200).float(), true)
    (picture,) = found.pictures
    assert len(picture.series) == mistakes.CLASSES
    assert {"150", "7"} <= {series.name for series in picture.series}


def test_sounds_can_be_heard_and_are_few():
    data = Data("sounds", torch.randn(40, 1, 2000), torch.zeros(40).long(), "classification")
    found = mistakes.of(data, torch.tensor([[0.0, 1.0]]).expand(40, 2), torch.zeros(40).long())
    (gallery,) = found.galleries
    assert len(gallery.exhibits) == mistakes.HEARD
    assert all(one.kind == "sound" and one.media.startswith(b"RIFF") for one in gallery.exhibits)


def test_a_regression_tells_how_far_it_is_off():
    true = torch.linspace(100, 200, 11)
    said = true + torch.tensor([0.0] * 10 + [50.0])
    data = Data("prices", torch.randn(11, 2), true, "regression")
    found = mistakes.of(data, said[:, None], true)
    assert found.galleries[0].exhibits[0].caption == "is 200, said 250, off by 50"
    assert "between 100 and 200" in found.says[0]
    points = found.pictures[0].series[0]
    np.testing.assert_allclose((points.x[-1], points.y[-1]), (200, 250))


@pytest.mark.parametrize(("factor", "told"), [(0.3, True), (1.0, False)])
def test_predictions_that_stay_near_the_mean_are_told(factor: float, told: bool):
    true = torch.linspace(-1, 1, 30)
    data = Data("n", torch.randn(30, 2), true, "regression")
    (picture,) = mistakes.of(data, factor * true[:, None], true).pictures
    assert ("predicted too low" in picture.says) == told


def test_many_points_are_thinned():
    true = torch.randn(5_000)
    data = Data("n", torch.randn(5_000, 2), true, "regression")
    (picture,) = mistakes.of(data, true[:, None], true).pictures
    assert 200 < len(picture.series[0].x) <= mistakes.DRAWN


def test_tokens_have_no_map():
    data = Data("text", torch.zeros(3, 5).long(), torch.zeros(3, 5).long(), "sequence")
    assert mistakes.of(data, torch.zeros(3, 5, 2), torch.zeros(3, 5).long()) == Mistakes()
