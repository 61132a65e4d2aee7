"""Setups written down as plain values and made again, and files that must not be followed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nomagic import catalog, described, setups
from nomagic.described import DescriptionError
from nomagic.engine.plan import Plan
from nomagic.trial.arms import candidates, glimpse
from nomagic.words import Form, InputStep, Setup


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(described.describe(value)))


def test_every_trick_can_be_written_down_and_made_again():
    base = setups.resolve("digits")
    plan = Plan(base)
    practices = [one for one in catalog.load() if one.apply]
    found, _ = candidates(plan, practices, glimpse(plan, 0), 0)
    assert len(found) > 15
    for one in found:
        plain = json.loads(json.dumps(described.changes(one.arm.setup, base)))
        again = described.changed(base, plain)
        assert described.changes(again, base) == plain
        same = [
            Plan(setup, plan.data).model(plan.members([3])[0]) for setup in (one.arm.setup, again)
        ]
        for first, second in zip(*(model.parameters() for model in same), strict=True):
            assert torch.equal(first, second), one.name


def own_model(form: Form, width: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, width), nn.Linear(width, form.outputs)
    )


def test_the_users_own_functions_are_named_and_come_back_from_the_users_own_setup():
    base = Setup("digits", partial(own_model, width=3), name="mine")
    plain = through_json(base.model)
    assert plain["partial"]["own"] == "own_model"
    assert plain["partial"]["file"] == Path(__file__).name
    found = described.restore(plain, described.owner(base))
    assert found.func is own_model
    assert found.keywords == {"width": 3}
    with pytest.raises(DescriptionError, match="pass the setup"):
        described.restore(plain)


@pytest.mark.parametrize(
    "plain",
    [
        {"name": "os:system"},
        {"name": "nomagic.partsandmore:x"},
        {"name": "nomagic.setups:_from_file"},
        {"name": "nomagic.parts.nets:torch.load"},
        {"name": "nomagic.parts.nets:F"},
        {"name": "nomagic.parts.nets:nothing"},
        {"name": "torch.optim.adamw:torch"},
        {"partial": {"name": "builtins:eval"}, "args": ["1"], "named": {}},
        {"make": {"name": "nomagic.parts.nets:mlp"}, "named": {"form": 1}},
        {"other": 1},
        ["a list"],
    ],
)
def test_a_file_can_name_nothing_but_parts_and_practices(plain: Any):
    with pytest.raises(DescriptionError):
        described.restore(plain)


def test_numbers_that_json_does_not_have_come_back():
    assert described.restore(through_json(float("inf"))) == float("inf")
    assert described.restore(through_json((1, 2.5, "a", None, True))) == (1, 2.5, "a", None, True)


def test_strange_fields_are_refused():
    base = setups.resolve("digits")
    with pytest.raises(DescriptionError, match="no data"):
        described.changed(base, {"data": 1})
    assert described.changed(base, {"rate": 2.0}) == replace(base, rate=2.0)


def test_functions_without_a_name_are_told_apart():
    first, second = lambda x: (x,), lambda x, y: x - y
    base = Setup("digits", lambda form: own_model(form), inputs=(InputStep("own", first, second),))
    plain = json.loads(json.dumps(described.describe(base.inputs)))
    (again,) = described.restore(plain, described.owner(base))
    assert again.fit is first
    assert again.use is second
    assert described.restore(described.describe(base.model), described.owner(base)) is base.model
