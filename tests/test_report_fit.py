"""A fit on a terminal: what is printed, on streams of all kinds."""

import io
import math
from dataclasses import replace

import pytest
from results import FIT, HOSTILE
from rich.cells import cell_len

from nomagic.report import fit as report
from nomagic.report.grid import Grid, grid, number, told
from nomagic.report.lines import console
from nomagic.words import Fit, Gallery, Stage


def printed(fit: Fit, width: int = 100, written: str = "", **options: object) -> str:
    stream = io.StringIO()
    report.show(fit, console(stream, width=width, **options), written)
    return stream.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_and_the_story_is_whole(width: int):
    text = printed(FIT, width, "report: out/index.html")
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for said in (
        "nomagic fit digits · 4 min 57 s",
        "Width 64 learns the training part by heart.",
        "Diagnosis: variance.",
        "all samples have labels",
        "accuracy 97.8 % (95 %: 95.8 % … 98.9 %) on 360 samples that no stage has seen",
        "The best plain model (linear) has 95.6 % on the same samples;",
        "this one is 2.2 points better (0.8 … 3.9).",
        "nomagic predict 'out/my digits' DATA",
        "report: out/index.html",
    ):
        assert said in flat(text)


def test_a_network_of_ones_own_is_used_with_its_code():
    own = replace(FIT, context=FIT.context | {"code": "my setup.py"})
    assert report.commands(own) == (
        "nomagic predict 'out/my digits' DATA --setup 'my setup.py'",
        "nomagic.load('out/my digits', 'my setup.py').predict(x)",
    )


def test_sentences_hang_beside_their_stage():
    lines = printed(FIT, 80).splitlines()
    at = next(place for place, line in enumerate(lines) if "overfit" in line)
    assert lines[at].startswith(" ✓ overfit ")
    column = lines[at].index("Width")
    assert lines[at + 1][:column].strip() == ""
    assert lines[at + 1][column:].strip().startswith("Diagnosis")


def test_letters_only_where_a_stream_has_no_more():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report.show(FIT, console(stream, width=80), "x")
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert " + overfit" in text
    assert "95.8 % ... 98.9 %" in flat(text)
    assert "?" not in text


def test_colour_only_on_a_terminal():
    assert "\x1b" not in printed(FIT)
    assert "\x1b" in printed(FIT, force_terminal=True, color_system="standard", _environ={})


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (
            {"gain": 0.01, "gain low": -0.01, "gain high": 0.03},
            "1.0 points better (−1.0 … 3.0), which",
        ),
        (
            {"gain": -0.01, "gain low": -0.03, "gain high": 0.01},
            "1.0 points worse (−3.0 … 1.0), which",
        ),
        ({"gain": 0.02, "gain low": 0.01, "gain high": 0.03}, "2.0 points better (1.0 … 3.0)."),
    ],
)
def test_a_plain_model_that_ties_is_said_so(score: dict[str, float], said: str):
    fit = replace(FIT, score={"accuracy": 0.97, "plain": 0.96} | score)
    found = report.headline(fit)
    assert said in found.plain
    assert found.better == (score["gain low"] > 0)
    assert ("the plain model does as well" in found.plain) == (not found.better)


def test_without_a_test_of_the_plain_model_its_validation_score_is_told():
    fit = replace(FIT, score={"accuracy": 0.97})
    found = report.headline(fit)
    assert found.plain == "The best plain model (linear) had 95.1 % on the validation part."
    assert found.better is None
    assert report.headline(replace(fit, stages=())).plain == ""


def test_other_metrics_are_told_in_their_unit():
    found = report.headline(replace(FIT, metric="loss", points=False, score={"loss": 0.0812}))
    assert (found.value, found.others) == ("0.0812", ())
    assert report.headline(FIT).others == (("loss", "0.0812"),)


def test_a_fit_without_a_score_says_so():
    text = printed(replace(FIT, score={}, ending="interrupted"))
    assert "no model was tested yet" in text
    assert "the same command goes on from here" in text


def test_hostile_names_steer_nothing():
    stages = (Stage(HOSTILE, (HOSTILE,)), Stage("b", skipped=HOSTILE))
    text = printed(replace(FIT, setup=HOSTILE, directory=HOSTILE, stages=stages), 60)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "\u202e" not in text


def grown(**last: object) -> list[Fit]:
    """A fit as it is told on the way."""
    steps = [
        replace(FIT, stages=FIT.stages[:n], score={}, ending="") for n in range(len(FIT.stages))
    ]
    told = [
        replace(one, phase=f"stage {n} · epoch 1 of 9", left=90.0) for n, one in enumerate(steps)
    ]
    return [
        *told,
        replace(told[-1], phase="stage 3 · epoch 2 of 9"),
        replace(FIT, phase="", **last),
    ]


def test_a_pipe_gets_a_line_for_each_step():
    stream = io.StringIO()
    with report.Screen(console(stream, width=80)) as screen:
        for fit in grown():
            screen.tell(fit)
    lines = stream.getvalue().splitlines()
    assert sum("✓" in line for line in lines) == 3
    assert sum("left" in line for line in lines) == 4
    assert "stage 0 · epoch 1 of 9 · 1 min 30 s left" in lines[0]
    assert "epoch 2 of 9" not in stream.getvalue()


def test_a_terminal_shows_the_stages_and_clears_them():
    stream = io.StringIO()
    out = console(stream, width=60, height=5, force_terminal=True, _environ={"TERM": "xterm"})
    with report.Screen(out) as screen:
        for fit in grown():
            screen.tell(fit)
    text = stream.getvalue()
    assert "epoch 2 of 9" in text
    assert "tune" in text
    assert text.rstrip().endswith("\x1b[2K")


def test_no_time_is_promised_that_is_not_known():
    stream = io.StringIO()
    with report.Screen(console(stream)) as screen:
        screen.tell(replace(FIT, phase="data", left=math.inf, stages=()))
    assert "left" not in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (True, "yes"), (1437, "1,437"), (0.12345, "0.1235"), (-2.0, "−2"),
        (1e-7, "1e-07"),
        (math.nan, "–"), (-math.inf, "−∞"), ("word", "word"), (1e20, "1e+20"),
    ],
)  # fmt: skip
def test_numbers(value: object, said: str):
    assert number(value) == said


def test_records_become_columns():
    models = {"linear": {"value": 0.95, "seconds": 1.25}, "constant": {"value": 0.1}}
    found = grid(models)
    assert found == Grid(
        ("", "value", "seconds"), (("linear", "0.95", "1.2 s"), ("constant", "0.1", ""))
    )
    assert grid(list(models.values())) == Grid(
        ("value", "seconds"), (("0.95", "1.2 s"), ("0.1", ""))
    )


def test_what_is_mixed_becomes_tables_within_tables():
    found = grid({"a": 1, "b": {"c": [1, 2]}})
    assert found == Grid((), (("a", "1"), ("b", Grid((), (("c", "1, 2"),)))))


def test_much_is_cut_and_counted():
    rows = grid({f"layer {n}": n for n in range(500)}, most=100)
    assert isinstance(rows, Grid)
    assert (len(rows.rows), rows.more) == (100, 400)
    assert str(grid(list(range(100)))).endswith("23 … (76 more)")


def test_what_is_deep_ends():
    value: dict[str, object] = {}
    for _ in range(200):
        value = {"in": value}
    assert isinstance(grid(value), Grid)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "torch.optim.adamw:AdamW"}, "AdamW"),
        ({"partial": {"name": "m:f"}, "args": [1], "named": {"lr": 0.1}}, "f(1, lr=0.1)"),
        ({"list": [{"name": "a:b"}, 2]}, "[b, 2]"),
        ({"float": "inf"}, "inf"),
        ({"own": "net:Net", "file": "x.py", "sha256": "0"}, "Net"),
        (40, "40"),
    ],
)
def test_descriptions_read_like_code(value: object, said: str):
    assert told(value) == said


def stage(name: str, numbers: dict[str, object] | None = None, skipped: str = "") -> Stage:
    return Stage(name, numbers=numbers or {}, skipped=skipped)


RUNGS = [{"network": "a"}, {"network": "b"}]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (stage("data", {"in training and test": 3}), "Mend the data first: 3 test samples"),
        (stage("test", {"lead": {"low": -0.2, "high": -0.1}}), "Use the plain model"),
        (stage("test", {"lead": {"low": -0.2, "high": 0.1}}), "whether a network is needed"),
        (stage("overfit", {"diagnosis": {"trouble": "bias"}}), "More capacity"),
        (
            stage("overfit", {"diagnosis": {"trouble": "bias"}, "chosen": "a", "rungs": RUNGS}),
            "larger ones on the ladder did no better",
        ),
        (
            stage("overfit", {"diagnosis": {"trouble": "bias"}, "chosen": "b", "rungs": RUNGS}),
            "More capacity",
        ),
        (stage("overfit", {"diagnosis": {"trouble": "variance"}}), "More data"),
        (stage("overfit", {"diagnosis": {"trouble": "ceiling"}}), "Better labels"),
        (stage("growth", {"helps": True}), "Twice the data is expected to pay"),
        (stage("growth", {"helps": False}), "Twice the data would hardly"),
        (stage("trust", {"overconfidence": 0.2}), "Do not trust its confidence"),
        (stage("shrink", {"smallest as good": "tiny", "kept": "ensemble"}), "small: tiny"),
        (stage("tune", skipped="there is no time"), "there was none for tune"),
        (Stage("test", galleries=(Gallery("worst", "", ()),)), "Look at the worst mistakes"),
    ],
)
def test_what_to_do_next_follows_from_the_evidence(known: Stage, said: str):
    (step,) = report.following(replace(FIT, stages=(known,)))
    assert said in step


def test_without_trouble_there_is_nothing_to_do():
    quiet = (
        stage("test", {"lead": {"low": 0.1, "high": 0.2}}),
        stage("trust", {"overconfidence": 0.0}),
        stage("shrink", {"smallest as good": "ensemble", "kept": "ensemble"}),
        stage("tune", skipped="as asked"),
    )
    assert report.following(replace(FIT, stages=quiet)) == []
