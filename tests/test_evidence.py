"""Pictures of what probes saw: bounded, honest about gaps, and there for what was found."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import nomagic
from nomagic import catalog
from nomagic.evidence import curves, drawn, layers, thin
from nomagic.probes.activations import Activation, Activations
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.evaluations import Evaluations, Score
from nomagic.probes.flow import LOOKS, Live
from nomagic.probes.gradients import Clearing, Gradients
from nomagic.probes.parameters import Moves, Parameters, Weight
from nomagic.probes.run import LAPS, Lap, Laps
from nomagic.report import draw
from nomagic.report import json as report
from nomagic.report.cures import cure
from nomagic.words import Picture, Place, Record, Series


def test_a_lap_is_the_sum_of_its_parts():
    laps = Laps()
    laps.end(0, 10.0, 1.0, looked=False)
    laps.add("loader", 0.1)
    laps.add("forward", 0.2)
    laps.add("evaluation", 0.4)
    laps.end(1, 12.0, 1.5, looked=True)
    (lap,) = laps.rows
    assert lap == Lap(1, (0.1, 0.2, 0.0, 0.0, 0.4, 0.5, lap.seconds[-1]), True)
    assert math.isclose(sum(lap.seconds), 2.0)


def test_an_evaluation_is_spread_over_the_steps_that_were_not_heard():
    laps = Laps()
    laps.end(0, 1.0, 0.0, looked=False)
    laps.add("evaluation", 6.0)
    laps.lose()
    laps.end(5, 20.0, 0.0, looked=False)
    laps.end(6, 21.0, 0.0, looked=False)
    assert [lap.tick for lap in laps.rows] == [6]
    assert laps.rows[0].seconds[4] == 1.0
    assert laps.rows[0].seconds[-1] == 1.0


def test_laps_are_bounded():
    laps = Laps()
    for tick in range(20 * LAPS):
        laps.end(tick, float(tick + 1), 0.0, looked=False)
    assert LAPS / 2 <= len(laps.rows) <= LAPS
    (picture,) = curves.laps(laps.rows)
    assert all(len(one.x) <= curves.STRETCHES for one in picture.series)


def test_a_long_curve_becomes_a_band():
    points = [(float(at), float(at % 2)) for at in range(10_000)]
    made = thin.band("loss", points)
    assert len(made.x) <= thin.STEPS
    assert set(made.low) == {0.0}
    assert set(made.high) == {1.0}
    assert thin.band("loss", [(0.0, math.nan), (1.0, 2.0)]).y == (2.0,)


def test_some_of_many_keep_both_ends():
    assert thin.spread_out(range(1_000), 5) == [0, 250, 500, 749, 999]
    assert thin.spread_out([1, 2], 5) == [1, 2]


def test_the_first_loss_that_is_no_number_is_marked():
    rows = [Loss(2.0 / (at + 1), at, at) for at in range(9)] + [Loss(math.nan, 9, 9)]
    (picture,) = curves.descent(Descent(rows))
    assert "At step 9 it is nan" in picture.says
    assert picture.series[-1].x == (9.0, 9.0)
    assert picture.series[-1].kind == "guide"


def test_training_and_each_evaluation_have_a_curve():
    place = Place("train.py", 3)
    rows = [
        Score(
            held, at, at, place, place if held else None, "cross_entropy", 8, at, 8, 2.0 / (at + 1)
        )
        for at in range(6)
        for held in (False, True)
    ]
    loss, accuracy = curves.evaluations(Evaluations(rows))
    assert [one.name for one in loss.series] == ["training", "validation"]
    assert accuracy.series[1].y[-1] == 5 / 8


def test_layers_are_bounded_and_a_gap_stays_a_gap():
    looks = tuple(Moves(at, at, 0.0 if at % 2 else 1.0, 2.0, 0.002, 0.1) for at in range(200))
    weights = Parameters(
        [Weight(f"layer{at}.weight", shape=(4, 4), sampled=16, looks=looks) for at in range(500)]
    )
    gradients, updates = layers.parameters(weights)
    assert len(gradients.series) == thin.ROWS
    assert len(gradients.series[0].x) == thin.COLUMNS
    assert set(gradients.series[0].y) == {0.0, 0.25}
    assert set(updates.series[0].y) == {0.001}
    assert len(draw.svg(gradients)) < 60_000


def test_dead_layers_are_seen():
    dead = Activation("relu", "fc", None, 8, 64, 4, history=((0, 0.0), (5, 1.0)))
    flat = Activation("tanh", "out", None, 8, 64, 4, history=((0, 0.5), (5, 0.9)))
    silent, saturated = layers.activations(Activations([dead, flat]))
    assert silent.series[0].name == "relu after fc"
    assert silent.series[0].y == (0.0, 1.0)
    assert saturated.series[0].y == (0.5, 0.9)


def test_what_cannot_be_drawn_is_told():
    class Broken(Gradients):
        pass

    gradients = Gradients([Clearing("Adam", "w", 3, stale=3, growth=(1.0, 9.0))])
    odd = Descent([None])  # type: ignore[list-item]
    said: list[str] = []
    made = drawn.pictures([gradients, odd, Broken()], said.append)
    assert [one.title for one in made[Gradients]] == ["Size of a gradient that was not cleared"]
    assert len(said) == 1
    assert said[0].startswith("no picture of Descent: AttributeError")


def test_stacks_are_drawn_on_top_of_each_other():
    parts = tuple(Series(f"part {at}", (0.0, 1.0), (1.0, 2.0), kind="stack") for at in range(8))
    drawing = draw.svg(Picture("time", "where", "step", "ms", parts))
    assert all(one.name in drawing for one in parts)
    assert ">16<" in drawing.replace(" ", "")


def watched() -> Record:
    torch.manual_seed(0)
    x, y = torch.randn(64, 8), torch.randint(3, (64,))
    with nomagic.check(experiments=False) as seen:
        net = nn.Sequential(
            nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(60):
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            net.eval()
            with torch.no_grad():
                (net(x).argmax(1) == y).float().mean()
            net.train()
    return seen.record


def test_a_run_has_its_charts_and_the_evidence_of_what_was_found():
    record = watched()
    titles = {one.title for one in record.charts}
    assert titles >= {
        "Training loss", "Accuracy in training and validation", "Gradients by layer",
        "Updates by layer", "Signals by layer", "Silent units by layer",
        "Saturated outputs by layer", "Where the time of a step goes",
    }  # fmt: skip
    evidence = {look.practice: look for look in record.looks}
    assert evidence["zero-grad"].status == "findings"
    assert (
        evidence["zero-grad"].pictures[0].series[1].y
        > evidence["zero-grad"].pictures[0].series[0].y
    )
    assert not evidence["worker-seeds"].pictures
    for look in record.looks:
        for picture in look.pictures:
            assert "<svg" in draw.svg(picture)
    told = json.loads(report.dumps(record, "0.1"))["charts"]
    assert len(json.dumps(told)) < 300_000
    (loss,) = [one for one in told if one["title"] == "Training loss"]
    assert "learning-rate-first" in loss["practices"]


def test_signals_are_watched_only_in_a_whole_check():
    with nomagic.check(select=["update-ratio"], experiments=False) as seen:
        net = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            net(torch.ones(4, 2)).square().mean().backward()
            optimizer.step()
    titles = {one.title for one in seen.record.charts}
    assert "Updates by layer" in titles
    assert "Signals by layer" not in titles


def test_signals_of_one_layer_are_bounded():
    live = Live("fc", "Linear")
    for step in range(10 * LOOKS):
        live.add(step, 1.0)
    assert LOOKS / 2 <= len(live.looks) <= LOOKS


def test_shows_read_what_is_watched():
    for practice in catalog.load():
        assert practice.show is None or set(practice.shows) <= set(practice.needs), practice.name


def test_cures_are_those_of_the_fixtures():
    root = Path(__file__).parent.parent
    command = [sys.executable, str(root / "docs" / "cures.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    kept = (root / "src" / "nomagic" / "report" / "cures.json").read_text(encoding="utf-8")
    assert done.stdout == kept, "run `make docs`"


def test_a_cure_has_both_sides_and_no_indent():
    lines = cure("logits-into-cross-entropy")
    assert [line.sign for line in lines] == [" ", "-", "+"]
    assert lines[1].code == "return torch.softmax(self.head(x), dim=1)"
    assert cure("no-such-practice") == ()
