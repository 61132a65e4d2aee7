"""What the experiments' practices make of their rows."""

from __future__ import annotations

import math
from dataclasses import replace

from nomagic.practices.architecture import pool_for_shift_invariance
from nomagic.practices.normalisation import same_in_training_and_inference
from nomagic.practices.sanity import (
    batched_equals_single,
    beat_constant_input,
    overfit_one_batch,
)
from nomagic.probes.constants import ConstantInput, Worth
from nomagic.probes.evaluations import Evaluations, Score
from nomagic.probes.memorised import Memorised, Memory
from nomagic.probes.norm_gap import NormGap, NormGaps
from nomagic.probes.shifts import Shift, Shifts
from nomagic.probes.singles import Single, Singles
from nomagic.words import CouldNotLook, Finding, NotApplicable, Outcome, Place

HERE = Place("train.py", 7)
TEN = math.log(10)
MEMORY = Memory(HERE, "cross_entropy", 10, 8, 2.3, 0.2, 0.1 * TEN, 2.08, 40, 1)
WORTH = Worth(HERE, "cross_entropy", 10, 64, 0.1, 9.0, 2.3, 20.0, 5.0, 400, 2.3, 0.1)
GAP = NormGap(HERE, "bn1", 2, "cross_entropy", 10, 64, 0.30, 0.33, 2.3, 30.0)
SHIFT = Shift(HERE, 0.04, 0.02, 256, 4, (28, 28), "conv1", False)
SINGLE = Single("batch", HERE, 3e-7, 8, 32)


def judged(outcomes: list[Outcome]) -> list[str]:
    return [o.severity if isinstance(o, Finding) else type(o).__name__ for o in outcomes]


def test_without_experiments_it_says_so():
    for check, kind in (
        (overfit_one_batch.check, Memorised),
        (batched_equals_single.check, Singles),
        (same_in_training_and_inference.check, NormGaps),
        (pool_for_shift_invariance.check, Shifts),
    ):
        (outcome,) = check(kind())
        assert isinstance(outcome, CouldNotLook)
        assert "not run" in outcome.reason


def test_learning_by_heart():
    def check(memory: Memory) -> list[str]:
        return judged(list(overfit_one_batch.check(Memorised([memory]))))

    assert check(MEMORY) == []
    stuck = replace(MEMORY, reached=1.46)
    assert check(replace(stuck, stuck="softmax")) == ["fault"]
    assert check(stuck) == ["warning"]
    assert check(replace(stuck, falling=True)) == []
    assert check(replace(MEMORY, reached=0.3)) == []
    assert check(replace(stuck, strict=False, why_lenient="noise")) == ["NotApplicable"]


def test_every_cause_can_be_explained():
    for cause in overfit_one_batch.CAUSES:
        (finding,) = overfit_one_batch.check(Memorised([replace(MEMORY, reached=2.0, stuck=cause)]))
        assert isinstance(finding, Finding)
        assert finding.place == HERE


def test_what_the_input_is_worth():
    def check(worth: Worth, *scores: Score) -> list[str]:
        return judged(list(beat_constant_input.check(ConstantInput([worth]), Evaluations(scores))))

    nothing = replace(WORTH, real=2.31, shuffled=2.31, z=0.3, late=2.3)
    assert check(WORTH) == []
    assert check(nothing) == ["warning"]
    assert check(replace(nothing, late=0.4)) == []  # the training went on well, on other targets
    assert check(replace(nothing, steps=20)) == ["NotApplicable"]
    assert check(replace(WORTH, moves=0.0)) == ["fault"]
    classes = {0: (300, 300), 1: (100, 0)}
    score = Score(
        True, 400, 400, HERE, None, "cross_entropy", 400, 300, 400, 0.56, 0.562, 0.4, classes
    )
    assert check(WORTH, score) == ["warning"]
    assert check(WORTH, replace(score, loss=0.40)) == []
    assert check(WORTH, replace(score, correct=340)) == []
    assert check(WORTH, replace(score, step=50)) == []


def test_batch_norm_as_trained_and_as_deployed():
    def check(gap: NormGap) -> list[str]:
        return judged(list(same_in_training_and_inference.check(NormGaps([gap]))))

    assert check(GAP) == []
    assert check(replace(GAP, running_loss=0.9)) == ["warning"]
    assert check(replace(GAP, running_loss=0.9, unmoved="bn1")) == ["fault"]
    assert check(replace(GAP, batch_loss=0.02, running_loss=0.09)) == []
    assert check(replace(GAP, batch_loss=0.9)) == []  # the running ones are the better ones
    assert check(replace(GAP, batch_loss=0.9, batch=4)) == ["warning"]


def test_shifts_alone_and_in_company():
    def shifts(shift: Shift) -> list[str]:
        return judged(list(pool_for_shift_invariance.check(Shifts([shift]))))

    assert shifts(SHIFT) == []
    assert shifts(replace(SHIFT, flips=0.3)) == ["warning"]
    assert shifts(replace(SHIFT, flips=0.3, pooled=True)) == ["note"]
    assert shifts(replace(SHIFT, flips=0.3, errors=0.2)) == []
    assert shifts(replace(SHIFT, flips=0.3, size=(8, 8))) == [NotApplicable.__name__]

    def singles(single: Single) -> list[str]:
        return judged(list(batched_equals_single.check(Singles([single]))))

    assert singles(SINGLE) == []
    assert singles(replace(SINGLE, worst=0.2)) == ["warning"]
    assert singles(replace(SINGLE, worst=0.2, mixes=True, cause="mean", kind="statistics")) == [
        "warning"
    ]
    assert singles(replace(SINGLE, worst=0.2, mixes=True, cause="matmul", kind="other")) == ["note"]
    assert singles(replace(SINGLE, what="padding", worst=0.01)) == []
    assert singles(replace(SINGLE, what="padding", worst=0.3)) == ["warning"]
