"""The estimators keep scikit-learn's contract, and are the same networks as everywhere else."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from nomagic.fitting import saved
from nomagic.fitting.estimator import NoMagicClassifier, NoMagicRegressor
from nomagic.parts import nets
from nomagic.parts.scaling import standardise

WINE = load_wine(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)


@pytest.mark.slow
@parametrize_with_checks(
    [
        NoMagicClassifier(),
        NoMagicClassifier(members=2, epochs=30, early_stopping=False),
        NoMagicRegressor(),
        NoMagicRegressor(members=2, epochs=30, early_stopping=False),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any):
    check(estimator)


def test_it_learns_and_is_unsure_where_members_differ():
    x, y = WINE
    names = np.array(["a", "b", "c"])[y]
    found = NoMagicClassifier(members=3, random_state=0).fit(x[::2], names[::2])
    assert found.score(x[1::2], names[1::2]) > 0.9
    assert found.classes_.tolist() == ["a", "b", "c"]
    chances = found.predict_proba(x)
    assert np.allclose(chances.sum(1), 1)
    (values,) = found.fitted_.fitted
    prepared = standardise(torch.from_numpy(x), *values)
    each = [network(prepared) for network in found.fitted_.networks]
    stacked = torch.stack(each).softmax(-1).detach()
    assert np.allclose(chances, stacked.mean(0))
    assert np.allclose(found.spread(x), stacked.std(0))


def test_numbers_come_in_their_unit():
    x, y = DIABETES
    found = NoMagicRegressor(random_state=0).fit(x[::2], 1_000 * y[::2])
    assert found.score(x[1::2], 1_000 * y[1::2]) > 0.2
    both = NoMagicRegressor(random_state=0).fit(x, np.stack([y, -y], 1))
    assert both.predict(x).shape == (len(x), 2)
    assert np.corrcoef(both.predict(x)[:, 0], y)[0, 1] > 0.6
    assert np.corrcoef(both.predict(x)[:, 1], y)[0, 1] < -0.6


def test_equal_seeds_give_equal_networks():
    x, y = WINE
    one, same, other = (
        NoMagicClassifier(random_state=seed, epochs=2, members=2).fit(x, y).predict_proba(x)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_members_trained_at_once_are_those_trained_alone():
    x, y = WINE
    together = NoMagicClassifier(random_state=0, epochs=2, members=2).fit(x, y)
    alone = NoMagicClassifier(random_state=0, epochs=2).fit(x, y)
    first = [one.fitted_.networks[0].state_dict() for one in (together, alone)]
    for name, tensor in first[0].items():
        assert torch.allclose(tensor, first[1][name], atol=1e-9), name


def test_models_are_parameters():
    x, y = WINE
    search = GridSearchCV(
        NoMagicClassifier(random_state=0, epochs=5),
        {"model": [nets.linear, partial(nets.mlp, width=8)]},
        cv=2,
    ).fit(x, y)
    assert search.best_score_ > 0.5
    copy = clone(NoMagicClassifier(model=nets.linear, members=3))
    assert copy.get_params()["model"] is nets.linear
    assert copy.set_params(lr=0.1).lr == 0.1
    pipe = make_pipeline(FunctionTransformer(np.abs), NoMagicRegressor(epochs=2, random_state=0))
    assert pipe.fit(*DIABETES).predict(DIABETES[0]).shape == (442,)


def test_early_stopping_keeps_the_best_epoch():
    x, y = DIABETES
    scores = [
        NoMagicRegressor(random_state=0, epochs=80, early_stopping=stop)
        .fit(x[::2], y[::2])
        .score(x[1::2], y[1::2])
        for stop in (True, False)
    ]
    assert scores[0] > scores[1] + 0.1


def test_what_is_trained_is_saved_as_any_model(tmp_path: Path):
    x, y = DIABETES
    found = NoMagicRegressor(random_state=0, epochs=3, members=2).fit(x, y)
    saved.save(found.fitted_, tmp_path)
    again = saved.load(tmp_path).predict(x)
    assert np.allclose(again.mean, found.predict(x), rtol=1e-5)
    assert np.allclose(again.spread, found.spread(x), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "y", "told"),
    [
        ({}, np.zeros(178), "y holds one class"),
        ({"epochs": 0}, WINE[1], "epochs is 0"),
        ({"validation_fraction": 2.0}, WINE[1], "a share between 0 and 1"),
        ({"lr": 1e30}, WINE[1], "the loss became NaN"),
        ({}, WINE[1] + 0.5, "Unknown label type"),
    ],
)
def test_what_cannot_be_trained(change: dict[str, Any], y: Any, told: str):
    with pytest.raises(ValueError, match=told):
        NoMagicClassifier(random_state=0, **change).fit(WINE[0], y)
