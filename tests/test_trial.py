"""Whole trials on tiny setups: planted truths, budgets, interruptions, bad input, reports."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

import nomagic as nm
from nomagic.__main__ import main
from nomagic.datasets import Data, DataError
from nomagic.engine.choose import Choice
from nomagic.engine.plan import Outcome, Plan, SetupError
from nomagic.engine.scores import MetricError
from nomagic.glimpse import Glimpse
from nomagic.report import trial as report
from nomagic.report import verdicts as machines
from nomagic.report.lines import console
from nomagic.trial import budget, checking, recipe, runs
from nomagic.trial import trying as stages
from nomagic.trial.arms import Candidate, TrialError, varied
from nomagic.trial.budget import BudgetError, Load
from nomagic.trial.run import smallest, try_
from nomagic.trial.screening import pick
from nomagic.trial.statistics import Judgement, judge
from nomagic.trial.store import Store
from nomagic.trial.trying import Ask, Trying, seeds
from nomagic.trial.verdicts import changes
from nomagic.words import (
    Arm,
    Form,
    InputStep,
    NotApplicable,
    Pair,
    Practice,
    Promise,
    Proof,
    Recipe,
    Setup,
    Step,
    Trial,
    Verdict,
)


def linear(form: Form) -> nn.Module:
    return nn.Linear(form.features, form.outputs)


def some_data(count: int = 240) -> tuple[Tensor, Tensor]:
    """Two classes that a linear network tells apart most of the time, after a while."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=random)
    noise = torch.randn(count, generator=random)
    y = (x[:, 0] + x[:, 1] + 0.5 * noise > 0).long()
    x[:, 1] *= 0.2
    return x, y


SETUP = Setup(
    data=some_data(),
    model=linear,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    epochs=4,
    batch_size=20,
    metric="loss",
    name="planted",
)


def practice(name: str, *found: Arm | Proof | NotApplicable, promise: Promise | None = None):
    """A practice with these arms."""

    def apply(_setup: Setup, _glimpse: Glimpse) -> Iterator[Arm | Proof | NotApplicable]:
        yield from found

    return Practice(name, "planted", "A planted truth", "", (), apply=apply, promise=promise)


def changed(
    name: str,
    promise: Promise | None = None,
    rates: tuple[float, ...] = (1.0,),
    **fields: object,
) -> Practice:
    """A practice that changes fields of whatever setup it is given."""

    def apply(setup: Setup, _glimpse: Glimpse) -> Iterator[Arm]:
        yield Arm(name, replace(setup, **fields), rates=rates)  # type: ignore[arg-type]

    return Practice(name, "planted", "A planted truth", "", (), apply=apply, promise=promise)


def scaled(factor: float) -> InputStep:
    return InputStep(f"times {factor:g}", lambda _: (), lambda x: x * factor)


LONGER = changed("longer", Promise("it helps", "002", "helps"), (0.5, 1.0, 2.0), epochs=24)
BLIND = changed("blind", Promise("it helps", "002", "helps"), inputs=(scaled(0.0),))
NOTHING = changed("nothing", Promise("nothing", "002", "no difference"), inputs=(scaled(1.0),))


def trying(
    *practices: Practice,
    setup: Setup = SETUP,
    store: Store | None = None,
    seconds: float = 600,
    **ask,
) -> Trying:
    asked = Ask(practices, time.monotonic() + seconds, **ask)
    return Trying(Plan(setup), asked, store or Store(), ask.get("tell"))


def by_arm(trial: Trial) -> dict[str, Verdict]:
    return {verdict.arm: verdict for verdict in trial.verdicts}


# ---- planted truths ----


@pytest.fixture(scope="module", autouse=True)
def one_engine() -> Iterator[None]:
    """Which engine is fastest hangs on the machine, and so would the time of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "choose", lambda _: Choice("stacked", 8, 0.02))
        yield


@pytest.fixture(scope="module")
def planted() -> Trial:
    return trying(LONGER, BLIND, NOTHING).run()


def test_planted_truths_come_out(planted: Trial):
    found = by_arm(planted)
    assert planted.ending == "finished"
    assert found["longer"].decision == "HELPS"
    assert found["longer"].low > 0
    assert found["blind"].decision == "HURTS"
    assert found["blind"].high < 0
    assert found["nothing"].decision == "NO DIFFERENCE THAT MATTERS"
    assert found["nothing"].effect == 0


def test_published_effects_are_held_against_it(planted: Trial):
    claims = {name: verdict.claim for name, verdict in by_arm(planted).items()}
    assert claims == {"longer": "confirmed", "blind": "not here", "nothing": "confirmed"}


def test_a_survivor_is_told_from_fresh_seeds(planted: Trial):
    found = by_arm(planted)["longer"]
    assert found.fresh
    assert found.effect != found.context["trial"]["effect"]
    assert [step.arm for step in planted.recipe.steps] == ["longer"]
    assert planted.recipe.together is not None
    assert planted.recipe.together.effect == found.effect


def test_each_verdict_says_what_it_is_about(planted: Trial):
    context = by_arm(planted)["longer"].context
    assert context["batch size"] == 20
    assert context["epochs"] == 4
    assert context["normalisation"] == "none"
    assert context["optimizer"] == "SGD"
    assert context["learning rate"] == pytest.approx(0.05)
    assert set(context["screened"]["baseline"]) == {"0.5", "1", "2"}
    assert set(context["rate"]) == {"baseline", "arm"}


def test_each_pair_and_each_look_is_told(planted: Trial):
    blind = by_arm(planted)["blind"]
    differences = [pair.difference for pair in blind.paired]
    assert len(differences) == blind.pairs
    assert sum(differences) / len(differences) == pytest.approx(blind.effect)
    assert [pair.seed for pair in blind.paired] == seeds(0, "trial", blind.pairs)
    assert [look for look, _ in blind.history] == list(range(8, blind.pairs + 1, 8))
    assert blind.history[-1][1] == pytest.approx(blind.evidence)
    assert planted.bar == 3 / 0.05
    fresh = by_arm(planted)["longer"]
    assert [pair.seed for pair in fresh.paired] == seeds(0, "recipe check", fresh.pairs)


def test_the_cost_is_the_training_time_over_the_baselines(planted: Trial):
    assert by_arm(planted)["longer"].cost > 2


def test_other_metrics_and_parameters_are_told(planted: Trial):
    others = by_arm(planted)["longer"].others
    assert others["accuracy"] > 0
    assert others["parameters"] == 0
    assert "loss" not in others


def test_an_arm_that_diverges_hurts_by_its_failures():
    trial = trying(changed("far-too-large", inputs=(scaled(1e30),))).run()
    (found,) = trial.verdicts
    assert found.decision == "HURTS"
    assert found.failures[0] == 0
    assert found.failures[1] == found.pairs >= 8
    assert {pair.failed for pair in found.paired} == {"arm"}
    assert all(math.isnan(pair.difference) for pair in found.paired)


def test_a_trick_that_repeats_another_is_left_out_of_the_recipe():
    """Both make the training longer: beside the one, the other does nothing."""
    again = changed("longer-again", epochs=24)
    trial = trying(LONGER, again).run()
    found, (step,) = by_arm(trial), trial.recipe.steps
    other = "longer" if step.arm == "longer-again" else "longer-again"
    assert found[step.arm].fresh
    assert found[other].decision == "HELPS", "alone it does"
    assert found[other].reason == f"{step.arm} did better, and this would take its place"


def test_a_lone_winner_that_does_not_hold_on_fresh_seeds_leaves_no_recipe(
    monkeypatch: pytest.MonkeyPatch,
):
    def unconvinced(*args: Any, **options: Any) -> dict[str, Judgement]:
        judged = judge(*args, **options)
        return {name: replace(one, decision="OPEN") for name, one in judged.items()}

    monkeypatch.setattr(checking, "judge", unconvinced)
    trial = trying(LONGER).run()
    (found,) = trial.verdicts
    assert trial.ending == "finished"
    assert (found.decision, found.fresh) == ("OPEN", True)
    assert "and not over" in found.reason
    assert trial.recipe.steps == ()


def test_of_two_that_do_the_same_in_different_ways_one_stays():
    """Inputs that have unit deviation already are not changed by another step to it."""

    def scaling(name: str) -> Practice:
        step = InputStep(name, lambda x: (x.std(0),), lambda x, deviation: x / deviation)

        def apply(setup: Setup, _glimpse: Glimpse) -> Iterator[Arm]:
            yield Arm(name, replace(setup, inputs=(*setup.inputs, step)), rates=(1.0,))

        return Practice(name, "planted", "A planted truth", "", (), apply=apply)

    trial = trying(scaling("units"), scaling("units-again")).run()
    (step,) = trial.recipe.steps
    (other,) = {"units", "units-again"} - {step.arm}
    left_out = by_arm(trial)[other]
    assert left_out.decision == "HELPS"
    assert f"beside {step.arm} no gain showed" in left_out.reason
    assert left_out.context["beside"]["others"] == step.arm
    assert trial.recipe.together is not None
    assert trial.recipe.together.effect > 0


def test_two_that_add_up_make_a_recipe():
    units = InputStep("units", lambda x: (x.std(0),), lambda x, deviation: x / deviation)
    trial = trying(LONGER, changed("units", inputs=(units,))).run()
    assert {step.arm for step in trial.recipe.steps} == {"longer", "units"}
    together = trial.recipe.together
    assert together is not None
    assert together.effect > max(step.verdict.effect for step in trial.recipe.steps)


def test_proofs_and_what_does_not_apply_need_no_runs():
    same = practice("same", Proof("same", SETUP, "bit-equal on 3 draws", before=2.0, after=1.0))
    absent = practice("absent", NotApplicable("no such layer"))
    trial = trying(same, absent).run()
    found = by_arm(trial)
    assert found["same"].decision == "SAME RESULT"
    assert found["same"].cost == 0.5
    assert found["absent"].decision == "NOT APPLICABLE"
    assert found["absent"].reason == "no such layer"
    assert trial.pairs == 0


def faster(setup: Setup, _glimpse: Glimpse) -> Iterator[Proof | NotApplicable]:
    """An identity that holds for trainings of up to ten epochs."""
    if setup.epochs > 10:
        yield NotApplicable("it would change the result")
    else:
        changed = replace(setup, inputs=(*setup.inputs, scaled(1.0)))
        yield Proof("faster", changed, "bit-equal on 3 draws", before=2.0, after=1.0)


FASTER = Practice("faster", "planted", "A planted identity", "", (), apply=faster)


def test_a_faster_identity_enters_the_recipe_and_is_followed(tmp_path: Path):
    trial = trying(FASTER).run()
    (step,) = trial.recipe.steps
    assert (step.arm, step.verdict.decision, step.verdict.cost) == ("faster", "SAME RESULT", 0.5)
    assert trial.recipe.together is None
    recipe.write(trial.recipe, tmp_path / "recipe.toml")
    kept = recipe.read(tmp_path / "recipe.toml")
    assert [one.verdict.decision for one in kept.steps] == ["SAME RESULT"]
    assert recipe.follow(kept, Plan(SETUP), [FASTER]).inputs[0].name == "times 1"
    written = json.loads(machines.dumps(trial, nm.__version__))["recipe"]
    assert written["tricks"] == [{"practice": "faster", "arm": "faster", "verdict": "SAME RESULT"}]
    assert "faster: the same result in less time" in shown(trial)


def test_an_identity_must_hold_beside_the_winners():
    units = InputStep("units", lambda x: (x.std(0),), lambda x, deviation: x / deviation)
    beside = trying(FASTER, changed("units", inputs=(units,))).run()
    assert [step.arm for step in beside.recipe.steps] == ["units", "faster"]
    broken = trying(FASTER, LONGER).run()
    assert [step.arm for step in broken.recipe.steps] == ["longer"]


def test_an_identity_that_is_no_faster_is_no_step():
    same = practice("same", Proof("same", SETUP, "bit-equal on 3 draws", before=1.0, after=0.99))
    assert trying(same).run().recipe.steps == ()


def test_an_arm_of_its_own_baseline_is_compared_with_that():
    short = replace(SETUP, epochs=1)
    arm = Arm("against-short", SETUP, rates=(1.0,), baseline=short)
    trial = trying(practice("against", arm)).run()
    assert trial.verdicts[0].decision == "HELPS"
    assert trial.recipe.steps == ()


# ---- known truths ----


def with_norm(form: Form) -> nn.Module:
    """A small network with local response normalisation, as of 2012."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, form.outputs),
    )


def few_digits(model) -> Setup:
    """A third of the digits, so that a run takes a moment."""
    digits = nm.data("digits")
    return Setup(
        data=digits.subset(torch.arange(600)),
        model=model,
        optimizer=partial(torch.optim.AdamW, lr=1e-2),
        epochs=3,
        batch_size=20,
        metric="loss",
    )


@pytest.mark.slow
def test_a_learning_rate_thirty_times_too_high_hurts():
    setup = few_digits(with_norm)
    trial = trying(changed("too-fast", rate=30.0), setup=setup).run()
    assert trial.verdicts[0].decision == "HURTS"


@pytest.mark.slow
def test_local_response_norm_makes_no_difference_that_matters():
    trial = try_(few_digits(with_norm), ["no-lrn"], worth=0.1, budget="10m")
    found = by_arm(trial)["no-lrn"]
    assert found.decision in ("NO DIFFERENCE THAT MATTERS", "NOT WORTH IT")
    assert abs(found.effect) < 0.1


@pytest.mark.slow
def test_a_unit_that_moves_behind_its_pool_is_the_same_result():
    trial = try_(few_digits(with_norm), ["relu-after-maxpool"], budget="5m")
    assert trial.verdicts[0].decision in ("SAME RESULT", "NOT APPLICABLE")
    plain = few_digits(
        lambda form: nn.Sequential(*[m for m in with_norm(form) if "Res" not in str(m)])
    )
    trial = try_(plain, ["relu-after-maxpool"], budget="5m")
    assert trial.verdicts[0].decision == "SAME RESULT"


# ---- A/A ----


def test_an_a_a_trial_has_real_differences():
    trial = try_(replace(SETUP, metric="loss"), aa=True, budget="5m")
    (found,) = trial.verdicts
    assert found.arm == "a-a"
    assert found.effect != 0
    assert found.context["rate"]["baseline"] == found.context["rate"]["arm"]


# ---- plans, budgets and interruptions ----


def test_stages_never_share_seeds():
    stages = ("glimpse", "screening", "trial", "recipe screening", "recipe check")
    found = [seed for first in (0, 1) for stage in stages for seed in seeds(first, stage, 96)]
    assert len(set(found)) == len(found)


def test_the_same_plan_gives_the_same_verdicts():
    trials = [trying(LONGER, BLIND).run() for _ in range(2)]
    told = [
        [(v.decision, v.effect, v.low, v.high, v.evidence, v.pairs) for v in trial.verdicts]
        for trial in trials
    ]
    assert told[0] == told[1]


def test_another_seed_draws_other_pairs():
    effects = [trying(BLIND, seed=seed).run().verdicts[0].effect for seed in (0, 1)]
    assert effects[0] != effects[1]


def test_what_is_in_the_store_is_not_trained_again(monkeypatch: pytest.MonkeyPatch):
    store = Store()
    first = trying(LONGER, store=store).run()

    def never(*_: object) -> Iterator[object]:
        raise AssertionError("a run was trained again")

    monkeypatch.setattr(runs, "_trained", never)
    again = trying(LONGER, store=store).run()
    assert again.verdicts == first.verdicts
    assert again.recipe == first.recipe


def test_the_baseline_is_shared_by_another_trial_of_the_same_setup():
    store = Store()
    trying(BLIND, store=store).run()
    before = store.count()
    trying(NOTHING, store=store).run()
    alone = Store()
    trying(NOTHING, store=alone).run()
    assert store.count() - before < alone.count()


def stopped_at(phase: str, stop) -> Trial:
    """A trial in which something happens when this phase begins."""
    one = trying(LONGER, BLIND)
    one.tell = lambda trial: stop(one) if trial.phase.startswith(phase) else None
    return one.run()


def interrupt(_: Trying) -> None:
    raise KeyboardInterrupt


def no_time(one: Trying) -> None:
    one.runner.deadline = 0


def test_ctrl_c_leaves_what_is_known():
    trial = stopped_at("recipe check", interrupt)
    assert trial.ending == "interrupted"
    found = by_arm(trial)
    assert found["blind"].decision == "HURTS"
    assert found["longer"].decision == "HELPS"
    assert not found["longer"].fresh
    assert "not yet checked on fresh seeds" in found["longer"].reason
    assert trial.recipe.steps == ()


def test_winners_that_exclude_each_other_leave_the_stronger():
    def once(setup: Setup, _glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
        if setup.epochs > 4:
            yield NotApplicable("it is long already")
        else:
            yield Arm("a-bit-longer", replace(setup, epochs=8), rates=(1.0,))

    other = Practice("a-bit-longer", "planted", "Planted", "", (), apply=once)
    trial = trying(changed("longer", epochs=40), other).run()
    assert [step.arm for step in trial.recipe.steps] == ["longer"]
    assert by_arm(trial)["a-bit-longer"].reason == (
        "longer did better, and beside it this cannot be used: it is long already"
    )


UNITS = changed(
    "units",
    inputs=(InputStep("units", lambda x: (x.std(0),), lambda x, deviation: x / deviation),),
)


def test_a_winner_that_there_is_no_time_to_check_leaves_a_recipe_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
):
    found: list[str] = []

    def strongest(costs: dict[str, float], _run: float, _left: float) -> tuple[list[str], int]:
        found.extend(costs)
        return found[:1], 8

    monkeypatch.setattr(budget, "checked", strongest)
    store = Store()
    trial = trying(LONGER, UNITS, store=store).run()
    assert [f"{step.practice}/{step.arm}" for step in trial.recipe.steps] == found[:1]
    late = by_arm(trial)[found[1].partition("/")[2]]
    assert late.decision == "HELPS"
    assert not late.fresh
    assert "no time to check it" in late.reason
    monkeypatch.undo()
    again = trying(LONGER, UNITS, store=store).run()
    assert again.verdicts == trial.verdicts, "what was left out is part of the plan"


def test_when_the_time_for_pairs_is_over_the_winners_so_far_are_checked():
    one = trying(changed("longer", epochs=40), changed("tie", draw=1), worth=1e-9)
    check = one._check
    one.tell = lambda trial: no_time(one) if trial.phase.startswith("pairs 17 ") else None
    one._check = lambda: (setattr(one, "tell", None), check())[1]
    trial = one.run()
    assert trial.ending == "out of time"
    assert [step.arm for step in trial.recipe.steps] == ["longer"]
    assert by_arm(trial)["tie"].decision == "OPEN"


def test_ctrl_c_before_the_first_look():
    trial = stopped_at("screening", interrupt)
    assert trial.ending == "interrupted"
    assert {verdict.decision for verdict in trial.verdicts} == {"OPEN"}


def test_the_end_of_the_time_leaves_what_is_known():
    trial = stopped_at("pairs 1 ", no_time)
    assert trial.ending == "out of time"
    assert {verdict.decision for verdict in trial.verdicts} == {"OPEN"}


def test_an_extension_goes_on_where_the_plan_ended():
    tie = changed("tie", draw=1)  # the difference is noise
    for seed in range(5):
        store = Store()
        first = trying(tie, store=store, seed=seed, seconds=8, worth=1e-9).run()
        if first.verdicts[0].decision == "OPEN":
            break
    else:
        pytest.fail("no seed of five left it open")
    longer = trying(tie, store=store, seed=seed, worth=1e-9, extend=True).run()
    assert longer.pairs == 2 * first.pairs
    assert longer.verdicts[0].pairs > first.verdicts[0].pairs
    kept = trying(tie, store=store, seed=seed, worth=1e-9).run()
    assert kept.pairs == longer.pairs, "once declared, an extension is part of the plan"


def test_the_first_arm_of_each_practice_comes_first():
    two = practice("two", Arm("one", SETUP), Arm("other", SETUP))
    found = [Candidate(two, Arm(name, SETUP)) for name in ("one", "other")]
    found.append(Candidate(LONGER, Arm("longer", SETUP)))
    assert [one.arm.name for one in varied(found, lambda _: 1.0)] == ["longer", "one", "other"]


def test_what_promises_most_for_its_time_comes_first():
    def promising(name: str, points: float, rival: bool = False, **fields: int) -> Candidate:
        arm = Arm(name, replace(SETUP, **fields), rival=rival)
        return Candidate(practice(name, promise=Promise("", "", "helps", points)), arm)

    found = [
        promising("rival", 9.0, rival=True),
        promising("five networks", 3.0, members=5),
        promising("cheap", 1.0),
        promising("much", 2.8),
    ]
    ordered = [one.arm.name for one in varied(found, lambda setup: setup.members)]
    assert ordered == ["much", "cheap", "five networks", "rival"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        ("2d", 172800),
    ],
)
def test_budgets_are_read(text: str | float, expected: float):
    assert budget.seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "10 parsecs", "", "0", "-5m", "5m later"])
def test_what_is_no_budget_is_refused(text: str):
    with pytest.raises(BudgetError, match=r"write 90s, 10m or 1h30m|above zero"):
        budget.seconds(text)


LOADS = [Load("", baseline=True), *(Load(f"arm {number}") for number in range(9))]


def test_more_time_buys_more_pairs():
    pairs = [budget.scheme(LOADS, time, 1.0, "plain").pairs for time in (300, 400, 600, 1000)]
    assert pairs == sorted(pairs)
    assert pairs[0] == 16
    assert pairs[-1] == 48


def test_a_plan_fits_into_its_budget():
    for limit in (330, 500, 900):
        found = budget.scheme(LOADS, limit, 1.0, "plain", everything=False)
        kept = [load for load in LOADS if load.baseline or load.name in found.arms]
        assert budget.runs(kept, found.pairs) * budget.SLACK <= limit


def test_a_check_takes_the_winners_that_fit_the_strongest_first():
    costs = {"first": 1.0, "five networks": 5.0, "third": 1.0}
    assert budget.checked(costs, 1.0, 1e6) == (list(costs), 24)
    assert budget.checked(costs, 1.0, 110.0) == (["first", "third"], 16)
    assert budget.checked(costs, 1.0, 1.0) == (["first"], 8)


def test_a_plan_keeps_about_a_third_of_its_time_for_the_check():
    arms = [Load(f"arm {number}") for number in range(12)]
    main = sum(16 + 3 * budget.screening(16) for _ in range(13))
    check = budget.runs([Load("", baseline=True), *arms], 16) - main
    assert 0.25 * main < check < 0.5 * main


def test_arms_at_the_end_are_left_out_for_lack_of_time():
    found = budget.scheme(LOADS, 200, 1.0, "plain", everything=False)
    assert found.arms == tuple(load.name for load in LOADS[1 : 1 + len(found.arms)])
    assert 1 <= len(found.arms) < 9
    assert len(budget.scheme(LOADS, 300, 1.0, "plain", everything=True).arms) == 9


def test_too_small_a_budget_says_how_much_is_needed():
    with pytest.raises(BudgetError, match=r"one lot of 8 pairs of 9 arms takes about \d+ min"):
        budget.scheme(LOADS, 60, 1.0, "plain")


# ---- screening ----


def scores(*values: float):
    return torch.tensor(values).double().numpy()


def test_the_better_rate_is_taken():
    assert pick({0.5: scores(1, 2, 3), 1.0: scores(2, 3, 4), 2.0: scores(4, 5, 6)}, 1.0) == 2.0


def test_the_usual_rate_stays_unless_another_is_clearly_better():
    assert pick({1.0: scores(1, 2, 3), 2.0: scores(3.1, 2, 1)}, 1.0) == 1.0
    assert pick({1.0: scores(1, 2, 3), 2.0: scores(1, 2, 3)}, 1.0) == 1.0


def test_a_rate_that_fails_less_is_better():
    assert pick({1.0: scores(9, math.nan, 9), 2.0: scores(1, 1, 1)}, 1.0) == 2.0
    assert pick({1.0: scores(1, 1, 1), 2.0: scores(9, math.nan, 9)}, 1.0) == 1.0


def test_without_scores_the_usual_or_the_only_rate():
    assert pick({}, 2.0) == 2.0
    assert pick({3.0: scores()}, 1.0) == 3.0


# ---- bad input ----


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight  # the inputs have six features


def test_a_forward_that_raises_is_told_with_the_users_line():
    with pytest.raises(TrialError, match=r"RuntimeError: mat1.*test_trial\.py:\d+: return x @"):
        try_(replace(SETUP, model=lambda _: Broken()), aa=True)


def test_a_network_in_place_of_a_function_is_told():
    with pytest.raises(TrialError, match=r"Setup.model is a Linear; expected a function"):
        try_(replace(SETUP, model=nn.Linear(6, 2)), aa=True)


def test_too_few_outputs_are_told():
    with pytest.raises(TrialError, match=r"the model has 1 outputs for 2 classes"):
        try_(replace(SETUP, model=lambda form: nn.Linear(form.features, 1)), aa=True)


def test_an_arm_that_cannot_be_trained_is_out_and_the_rest_goes_on():
    broken = practice("broken", Arm("broken", replace(SETUP, model=lambda _: Broken())))
    found = by_arm(trying(broken, BLIND).run())
    assert found["broken"].decision == "NOT APPLICABLE"
    assert "cannot be trained" in found["broken"].reason
    assert found["blind"].decision == "HURTS"


class Late(nn.Module):
    """Fails once it is scored on the whole held-out part."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.line = nn.Linear(form.features, form.outputs)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 12:
            raise ValueError("too late")
        return self.line(x)


def test_an_arm_that_raises_in_training_is_out_and_the_rest_goes_on():
    late = practice("late", Arm("late", replace(SETUP, model=Late)))
    found = by_arm(trying(late, BLIND).run())
    assert found["late"].decision == "NOT APPLICABLE"
    assert "too late" in found["late"].reason
    assert found["blind"].decision == "HURTS"


def test_a_setup_that_raises_in_training_is_told():
    with pytest.raises(TrialError, match="ValueError: too late"):
        try_(replace(SETUP, model=Late), aa=True, budget="5m")


def test_a_constant_metric_is_told():
    constant = replace(SETUP, metric=lambda _outputs, _targets: 0.75)
    with pytest.raises(TrialError, match=r"is 0.75 in all \d+ runs.*another metric"):
        try_(constant, aa=True, budget="5m")


def test_a_setup_that_always_diverges_is_told():
    with pytest.raises(TrialError, match=r"all \d+ runs failed"):
        try_(replace(SETUP, inputs=(scaled(1e30),)), aa=True, budget="5m")


def test_nan_in_the_data_is_told():
    x, y = some_data()
    x[7, 2] = math.nan
    with pytest.raises(DataError, match=r"(?i)nan"):
        try_(replace(SETUP, data=(x, y)), aa=True)


def test_classes_missing_from_a_split_are_told():
    x, _ = some_data()
    y = torch.arange(len(x)) // 40
    with pytest.raises(DataError, match="missing from the training part"):
        try_(replace(SETUP, data=(x, y), split="time"), aa=True)


def test_an_unknown_metric_is_told():
    with pytest.raises(MetricError, match="'acuracy' is not known"):
        try_(SETUP, metric="acuracy", aa=True)


def test_a_setup_with_impossible_fields_is_told():
    with pytest.raises(SetupError, match=r"held_out is 1\.5"):
        try_(replace(SETUP, held_out=1.5), aa=True)


def test_a_practice_without_a_trick_is_told():
    with pytest.raises(TrialError, match="fix-seed has no trick"):
        try_(SETUP, ["fix-seed"])


def test_an_unknown_practice_meets_the_nearest():
    with pytest.raises(LookupError, match="'batch-nrm', did you mean batch-norm"):
        try_(SETUP, ["batch-nrm"])


def test_no_practice_left():
    with pytest.raises(TrialError, match="no practice is left"):
        try_(SETUP, ["batch-norm"], skip=["batch-norm"])


def test_some_of_the_samples_may_be_enough():
    trial = try_(SETUP, ["weight-decay"], samples=100, budget="5m", metric="loss")
    assert trial.context["training samples"] == 75
    x, y = some_data()
    rows = (torch.arange(200), torch.arange(200, 240))
    given = Data("official", x, y, "classification", ("0", "1"), test_rows=rows)
    with pytest.raises(TrialError, match="comes with its split"):
        try_(replace(SETUP, data=given, split="fixed"), samples=100, aa=True)


def test_worth_is_read_in_the_metrics_unit():
    accuracy = Plan(replace(SETUP, metric="accuracy"))
    assert smallest("0.3pt", accuracy) == pytest.approx(0.003)
    assert smallest("0.01", Plan(SETUP)) == 0.01
    assert smallest(None, accuracy) is None
    with pytest.raises(TrialError, match="loss is not told in points"):
        smallest("0.3pt", Plan(SETUP))
    for wrong in ("much", "-1", "0", "nan"):
        with pytest.raises(TrialError, match="expected a number above zero"):
            smallest(wrong, accuracy)


# ---- the recipe ----


def evidence(**fields: object) -> Verdict:
    values = {"effect": 0.01, "low": 0.002, "high": math.nan, "evidence": 42.0, "pairs": 16}
    return Verdict("elu", "elu", "HELPS", fresh=True, **{**values, **fields})  # type: ignore[arg-type]


RECIPE = Recipe(
    "digits", "accuracy", (Step("elu", "elu", evidence(failures=(1, 0))),), 2.0,
    replace(evidence(), practice="", arm="recipe"), {"batch size": 64, "odd \"name\"\n": [1, 2.5]},
)  # fmt: skip


def test_a_recipe_comes_back_from_its_file(tmp_path: Path):
    recipe.write(RECIPE, tmp_path / "recipe.toml")
    found = recipe.read(tmp_path / "recipe.toml")
    assert repr(found.steps) == repr(RECIPE.steps)
    assert repr(found.together) == repr(RECIPE.together)
    assert (found.setup, found.metric, found.rate) == ("digits", "accuracy", 2.0)
    assert found.context == RECIPE.context


def test_a_recipe_can_be_read_by_people_and_by_toml():
    text = recipe.dumps(RECIPE)
    assert "# What helped" in text
    assert tomllib.loads(text)["tricks"][0]["evidence"] == 42.0


@pytest.mark.parametrize(
    "text", ["", "version = 9", "version = 1", "no toml", "version = 1\nsetup=1"]
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(recipe.RecipeError, match="is not a recipe"):
        recipe.read(file)


def test_a_recipe_is_followed(planted: Trial):
    found = recipe.follow(planted.recipe, Plan(SETUP), [LONGER, BLIND])
    assert found.epochs == 24
    assert found.rate == planted.recipe.rate


def test_a_recipe_that_does_not_fit_is_refused(planted: Trial):
    refused = practice("longer", NotApplicable("it is long enough"))
    with pytest.raises(recipe.RecipeError, match="it is long enough"):
        recipe.follow(planted.recipe, Plan(SETUP), [refused])
    with pytest.raises(recipe.RecipeError, match="no such practice"):
        recipe.follow(planted.recipe, Plan(SETUP), [])


# ---- what is shown and written ----


def shown(trial: Trial, width: int = 150) -> str:
    out = console(width=width, record=True, force_terminal=False, _environ={})
    with out.capture() as captured:
        report.show(trial, out)
    return captured.get()


MADE = Trial(
    "digits", "accuracy", True,
    (
        Verdict("prelu", "prelu-0.1", "HURTS", -0.008, -0.01, -0.006, 380.4, pairs=9, cost=1.03),
        Verdict("batch-norm", "batch-norm", "HELPS", 0.0072, 0.005, 0.009, 4e7, pairs=16, cost=1.09,
                fresh=True, claim="confirmed"),
        Verdict("elu", "elu", "OPEN", 0.002, -0.001, math.nan, 3.2, pairs=24, needed=64,
                failures=(0, 2)),
        Verdict("relu-after-maxpool", "relu-after-maxpool", "SAME RESULT", cost=0.8),
        Verdict("no-lrn", "no-lrn", "NOT APPLICABLE", reason="there is no LRN"),
    ),
    pairs=24, seconds=75.0, ending="finished",
)  # fmt: skip


def test_reasons_that_arms_share_are_told_once():
    waiting = "the first look that can decide among 9 arms is at 16 pairs"
    arms = [Verdict("elu", f"arm-{n}", "OPEN", reason=waiting, pairs=8) for n in range(9)]
    text = shown(replace(MADE, verdicts=tuple(arms)))
    assert text.count("the first look") == 1
    assert "9 arms  the first look" in text


def test_the_published_number_stands_beside_what_was_measured():
    told = replace(MADE.verdicts[1], context={"published points": 2.8})
    assert "+2.8 pt, confirmed" in shown(replace(MADE, verdicts=(told,)))
    assert "2.8" not in shown(replace(MADE, verdicts=(told,), metric="loss", points=False))


def outcomes(flips: float, ece: float) -> list[Outcome]:
    """Eight runs with about these shares."""
    return [
        Outcome(seed, {"accuracy": 0.9, "flips": flips + 1e-3 * (seed % 3), "ece": ece})
        for seed in range(8)
    ]


def test_what_else_changed_much_is_told():
    said = list(changes(outcomes(0.12, 0.02), outcomes(0.04, 0.021)))
    assert said == ["a shift by one pixel flips 4.1 % of the predictions instead of 12.1 %"]
    said = list(changes(outcomes(0.1, 0.02), outcomes(0.1, 0.08)))
    assert said == ["the calibration error is 8.0 pt instead of 2.0 pt"]
    assert not list(changes(outcomes(0.1, 0.02), outcomes(0.1, 0.02)))
    assert not list(changes(outcomes(0.1, 0.02)[:4], outcomes(0.02, 0.02)[:4]))


def test_the_table_tells_effects_in_points():
    text = shown(MADE)
    assert "+0.72 pt" in text
    assert "+0.50 … +0.90" in text
    assert "−0.80 pt" in text
    assert "380 : 1" in text
    assert "> 1e6 : 1" in text
    assert "SAME RESULT, FASTER" in text
    assert "OPEN (~64 pairs)" in " ".join(text.split())
    assert "2 of the arm" in " ".join(text.split())
    assert "not applicable  no-lrn: there is no LRN" in text
    assert text.index("batch-norm") < text.index("prelu-0.1") < text.index("elu  ")


def test_a_narrow_terminal_keeps_the_names():
    lines = shown(MADE, width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("relu-after-maxpool") for line in lines)


def test_a_metric_without_points_keeps_its_unit():
    assert "+0.0072" in shown(replace(MADE, metric="loss", points=False))


def test_the_report_for_machines_follows_its_schema():
    written = json.loads(machines.dumps(MADE, nm.__version__))
    msgspec.convert(written, machines.Report)
    first = written["verdicts"][0]
    assert (first["verdict"], first["effect"], first["failures"]) == (
        "HURTS", -0.008, {"baseline": 0, "arm": 0},
    )  # fmt: skip
    assert written["verdicts"][2]["high"] is None
    told = replace(MADE.verdicts[0], paired=(Pair(7, math.nan, "arm"),), history=((8, 3.5),))
    (again,) = json.loads(machines.dumps(replace(MADE, verdicts=(told,)), nm.__version__))[
        "verdicts"
    ]
    assert again["paired"] == [{"seed": 7, "difference": None, "failed": "arm"}]
    assert again["history"] == [{"pairs": 8, "evidence": 3.5}]


def test_the_schema_in_the_docs_is_the_codes():
    file = Path(__file__).parent.parent / "docs" / "try.schema.json"
    assert json.loads(file.read_text()) == machines.schema()


# ---- the command line ----

FILE = """
import torch
from torch import nn
import nomagic as nm

torch.manual_seed(0)
x = torch.randn(200, 6)
y = (x[:, 0] + 0.5 * torch.randn(200) > 0).long()
def model(form):
    return nn.Sequential(nn.Linear(form.features, 8), nn.Tanh(), nn.Linear(8, form.outputs))
setup = nm.Setup(data=(x, y), model=model, epochs=1, batch_size=25, metric="loss")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["try", *args], env={"COLUMNS": "110"}, prog_name="nomagic")


def test_try_prints_and_writes_what_it_found(folder: Path):
    done = call("small.py", "batch-norm,no-sigmoid-tanh", "--budget", "2m", "--json", "out.json")
    assert done.exit_code == 0, done.output
    assert "nomagic try small" in done.stdout
    assert "batch-norm" in done.stdout
    assert "screening learning rates" in done.stderr
    written = msgspec.json.decode((folder / "out.json").read_bytes(), type=machines.Report)
    assert {one.practice for one in written.verdicts} == {"batch-norm", "no-sigmoid-tanh"}
    assert (folder / "recipe.toml").exists() == bool(written.recipe.tricks)
    again = call("small.py", "batch-norm,no-sigmoid-tanh", "--budget", "2m", "--json", "again.json")
    assert again.exit_code == 0
    repeated = msgspec.json.decode((folder / "again.json").read_bytes(), type=machines.Report)
    assert repeated.verdicts == written.verdicts


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["small.py", "batch-nrm"], "did you mean batch-norm?"),
        (["smal.py", "batch-norm"], "smal.py"),
        (["small.py", "batch-norm", "--budget", "0.01s"], "the budget is too small"),
        (["small.py", "batch-norm", "--budget", "soon"], "write 90s"),
        (["small.py", "batch-norm", "--metric", "acuracy"], "'acuracy' is not known"),
        (["small.py", "batch-norm", "--worth", "1pt"], "not told in points"),
        (["small.py", "batch-norm", "--store", "small.py"], "cannot be used as a store"),
        (["digit", "batch-norm"], "did you mean digits"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(args: list[str], said: str):
    done = call(*args)
    assert done.exit_code == 2
    assert said in done.stderr


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from nomagic.__main__ import main\n"
        "main(['try', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_ends_with_130_and_what_is_known(folder: Path):
    slow = FILE.replace("epochs=1", "epochs=100")
    (folder / "slow.py").write_text(slow)
    heard = (  # where SIGINT is ignored, as in the background of a shell, Python leaves it so
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from nomagic.__main__ import main; main()"
    )
    command = [sys.executable, "-c", heard, "try", "slow.py", "batch-norm", "--budget", "1h"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("pairs"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; this is what is known" in out
    assert "Traceback" not in err
