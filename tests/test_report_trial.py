"""The pictures and sentences of a trial, on values made by hand."""

import math
from dataclasses import replace

import pytest
from results import HOSTILE, TRIAL

from nomagic import catalog
from nomagic.report import draw, figures, html
from nomagic.report.trial import sentence
from nomagic.words import Pair, Picture, Recipe, Series, Step, Trial, Verdict

ALONE = {"trial": {"effect": 0.02, "low": 0.01, "high": 0.03, "pairs": 16}}
WON = Verdict(
    "batch-norm", "batch-norm", "HELPS", 0.015, 0.008, 0.022, 38.0, 0.9, 4, cost=1.25, fresh=True,
    paired=(Pair(1, 0.01), Pair(2, 0.03), Pair(3, -0.01), Pair(4, math.nan, "baseline")),
    history=((2, 3.0), (4, 38.0)), failures=(1, 0),
    context=ALONE | {"screened": {"baseline": {"0.5": 0.90, "1": 0.92}, "arm": {"1": 0.95}}},
)  # fmt: skip
SECOND = replace(WON, practice="prelu", arm="prelu-0.1", effect=0.01, low=0.002, high=0.018)
LOST = Verdict(
    "blind", "blind", "HURTS", math.nan, evidence=7e9, pairs=2, failures=(0, 2),
    paired=(Pair(1, math.nan, "arm"), Pair(2, math.nan, "arm")), history=((2, 7e9),),
)  # fmt: skip
WHOLE = Verdict("", "recipe", "HELPS", 0.03, 0.02, 0.035, 90.0, 0.9, 16, fresh=True)
BOTH = replace(
    TRIAL,
    verdicts=(WON, SECOND, LOST),
    recipe=Recipe(
        steps=tuple(Step(one.practice, one.arm, one) for one in (WON, SECOND)), together=WHOLE
    ),
    bar=60.0,
)


def named(picture: Picture | None) -> dict[str, Series]:
    assert picture is not None
    return {series.name: series for series in picture.series}


def test_every_pair_is_a_dot_and_failures_lie_at_the_edges():
    found = named(figures.pairs(BOTH))
    assert found["a pair of runs"].x == ("batch-norm",) * 3 + ("prelu-0.1",) * 3
    assert found["a pair of runs"].y == pytest.approx((1.0, 3.0, -1.0) * 2)
    assert found["the arm failed"].x == ("blind",)
    assert found["the arm failed"].y[0] < -1
    assert found["the baseline failed"].x == ("batch-norm", "prelu-0.1")
    assert found["the baseline failed"].y[0] > 3


def test_the_evidence_grows_towards_the_line_that_proves():
    found = named(figures.evidence(BOTH))
    assert found["batch-norm"].x == (2.0, 4.0)
    assert found["batch-norm"].y == (3.0, 38.0)
    assert found["blind"].y == (1e6,)
    assert found["proven by this alone"].y == (60.0, 60.0)


@pytest.mark.parametrize(
    ("together", "said"),
    [
        (WHOLE, "less than the sum, since in part they do the same work"),
        (replace(WHOLE, high=0.05), "the sum holds"),
        (replace(WHOLE, effect=0.06, low=0.05, high=0.07), "more than the sum: they help"),
    ],
)
def test_whether_the_sum_holds_is_said(together: Verdict, said: str):
    picture = figures.interactions(
        replace(BOTH, recipe=replace(BOTH.recipe, together=together))
    )  # fmt: skip
    assert picture is not None
    assert said in picture.says
    assert "+4.00 pt" in picture.says
    assert named(picture)["sum of those alone"].y == pytest.approx((4.0,))


def test_winners_that_show_no_gain_together_are_told():
    picture = figures.interactions(replace(BOTH, recipe=Recipe()))
    assert picture is not None
    assert picture.says.endswith("Together they show no gain.")


def test_one_winner_has_no_interactions():
    assert figures.interactions(replace(BOTH, verdicts=(WON, LOST))) is None


def test_rates_are_told_as_the_metric_is():
    found = named(figures.screening(BOTH))
    assert found["without tricks"].x == (0.5, 1.0)
    assert found["without tricks"].y == pytest.approx((90.0, 92.0))
    lower = replace(BOTH, metric="loss", points=False, context={"higher is better": False})
    assert named(figures.screening(lower))["without tricks"].y == pytest.approx((-0.9, -0.92))
    assert "above 0: better" in figures.forest(lower).y


def test_all_pictures_of_a_trial_are_drawn_and_small():
    found = figures.pictures(BOTH)
    assert len(found) == 6
    assert all(len(draw.svg(one)) < 40_000 for one in found)
    assert figures.pictures(replace(BOTH, verdicts=())) == []


def test_many_arms_and_pairs_stay_small():
    pairs = tuple(Pair(seed, math.sin(seed)) for seed in range(96))
    history = tuple((8 * n, 1.2**n) for n in range(1, 13))
    arms = tuple(
        replace(WON, arm=f"arm-{n}", paired=pairs, history=history, pairs=96) for n in range(60)
    )
    assert len(html.trial(replace(BOTH, verdicts=arms), catalog.load())) < 800_000


WON_SAID = (
    "It won 3 of 4 pairs; the difference is +1.50 pt in the mean (with 95 % certainty +0.80 … "
    "+2.20); a run takes 25 % longer. It helps."
)
LOST_SAID = "It won 0 of 2 pairs; 2 runs of it failed. It hurts: leave it out."
SAME = Verdict("a", "a", "SAME RESULT", cost=0.8)
SAME_SAID = "It computes the same, in 20 % less time; that is proven, so no runs were needed."
OPEN_SAID = "There were no pairs of runs to judge by."


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (WON, WON_SAID),
        (LOST, LOST_SAID),
        (SAME, SAME_SAID),
        (Verdict("a", "a", "OPEN"), OPEN_SAID),
    ],
)
def test_a_verdict_is_told_in_a_sentence(verdict: Verdict, said: str):
    assert sentence(verdict, TRIAL) == said


def test_a_page_says_what_was_left_out_and_why():
    trial: Trial = replace(BOTH, left_out=("elu", HOSTILE))
    page = html.trial(
        replace(trial, verdicts=(*trial.verdicts, TRIAL.verdicts[-1])), catalog.load()
    )  # fmt: skip
    assert "There was no time for 2 arms: elu" in page
    assert "the network has no convolution" in page
    assert "<script>alert(1)" not in page
