"""The data practices on hand-made rows, and the statistics that their probes rest on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nomagic.practices.data import (
    keep_test_clean,
    never_the_same_batch,
    no_corrupt_samples,
    no_duplicates,
    shuffle_every_epoch,
)
from nomagic.practices.hardware import feed_the_accelerator
from nomagic.practices.input import standardise_input, tame_input_range
from nomagic.probes.batches import Batches, Feed, Labels, describe, recurs, runs_z
from nomagic.probes.crashes import Crash, Crashes
from nomagic.probes.evaluations import Evaluations
from nomagic.probes.inputs import Column, Input, Inputs
from nomagic.probes.loaders import Loader, Loaders, Overlap
from nomagic.probes.samples import Samples, Split, bits, bootstrap, oversampled
from nomagic.probes.timing import Timing, Wait
from nomagic.words import Finding, NotApplicable, Place

HERE = Place("train.py", 6)
LINE = Place("train.py", 20)
TRAINING = Loader(0, HERE, sampler="sequential", per_pass=30, passes=3, batches=90, training=90)
SORTED = Labels("class", 900, 10, 30, z=-60.0, pure=0.96, chance=0.2)
FEED = Feed(LINE, loader=0, batches=90, rows=30, labels=SORTED)


def severities(outcomes):
    return [found.severity for found in outcomes if isinstance(found, Finding)]


# -- shuffle-every-epoch, never-the-same-batch ----------------------------------------------------


def shuffled(feed, loader=TRAINING):
    return list(shuffle_every_epoch.check(Batches([feed]), Loaders([loader])))


def test_sorted_classes_in_order_are_a_fault_at_the_loader():
    (found,) = shuffled(FEED)
    assert (found.severity, found.place) == ("fault", HERE)
    assert "96%" in found.seen


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": replace(SORTED, pure=0.6)}, ["warning"]),
        ({"labels": replace(SORTED, kind="value", classes=2)}, ["warning"]),
        ({"labels": replace(SORTED, chance=0.95)}, ["warning"]),
        ({"labels": replace(SORTED, z=-3.0)}, []),
        ({"labels": replace(SORTED, z=-3.0), "period": 30}, ["note"]),
        ({"tokens": True}, []),
        ({"carried": True}, []),
        ({"windows": True}, []),
        ({"batches": 30, "again": 29}, []),
    ],
)
def test_order_is_judged_by_its_evidence(change, expected):
    assert severities(shuffled(replace(FEED, **change))) == expected


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [("random", []), ("other", []), ("weighted", []), ("iterable", ["warning"])],
)
def test_order_of_other_samplers(sampler, expected):
    assert severities(shuffled(FEED, replace(TRAINING, sampler=sampler))) == expected


def test_slices_without_a_loader_are_in_order_when_they_follow_each_other():
    feed = replace(FEED, loader=-1, cut=Place("train.py", 19))
    assert severities(shuffled(feed)) == []
    (found,) = shuffled(replace(feed, consecutive=0.97))
    assert (found.severity, found.place) == ("fault", Place("train.py", 19))


def test_one_batch_is_the_whole_data():
    (outcome,) = shuffled(FEED, replace(TRAINING, per_pass=1))
    assert isinstance(outcome, NotApplicable)


def again(feed, loader=TRAINING):
    return severities(never_the_same_batch.check(Batches([feed]), Loaders([loader])))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["warning"]),
        ({"steps": 1.0}, []),
        ({"period": 3}, []),
        ({"rows": 1.0}, []),
        ({"distinct": 0.3}, []),
        ({"tokens": True}, []),
        ({"period": 0, "again": 0}, []),
        ({"period": 0, "again": 20}, ["note"]),
        ({"period": 3_000, "batches": 9_000}, ["note"]),
    ],
)
def test_rounds_of_the_same_batches(change, expected):
    feed = replace(FEED, period=30, steps=30.0, again=60)
    assert again(replace(feed, **change)) == expected


def test_recurs_finds_a_whole_second_round_only():
    round_ = list(range(10))
    assert recurs(round_ * 3) == (0, 10)
    assert recurs([99, *round_, *round_]) == (1, 10)
    assert recurs(round_ + round_[:6]) == (0, 0)
    rng = np.random.default_rng(0)
    assert recurs([int(i) for _ in range(5) for i in rng.permutation(50)]) == (0, 0)


def test_runs_test_is_standard_normal_for_shuffled_labels():
    rng = np.random.default_rng(0)
    z = [runs_z(rng.permutation(np.repeat([0, 1, 2], [50, 30, 20]))) for _ in range(400)]
    assert abs(np.mean(z)) < 0.15
    assert 0.9 < np.std(z) < 1.1
    assert runs_z(np.repeat([0, 1, 2], [50, 30, 20])) < -9


def test_order_within_a_batch_does_not_count():
    grouped = [np.repeat(np.arange(10.0), 4) for _ in range(30)]
    labels = describe(grouped, "class")
    assert labels is not None
    assert labels.z > -4
    assert labels.pure == pytest.approx(0.1)


def test_indices_are_not_classes():
    assert describe([np.arange(40.0), np.arange(40.0, 80.0)], "class") is None


# -- no-duplicates, keep-test-clean --------------------------------------------------------------


HELD = Split("evaluation", LINE, loader=1, rows=500, rich=True, width=64, shared=50, scored=True)
CLEAN = Split("evaluation", LINE, loader=2, rows=500, rich=True, width=64, scored=True)
TEST = Loader(1, LINE, "val_loader", size=500, batches=40, evaluations=4, scored=True)


def copied(*splits, loaders=()):
    return severities(no_duplicates.check(Samples(splits), Loaders(loaders)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["fault"]),
        ({"shared": 4}, ["warning"]),
        ({"shared": 2}, ["note"]),
        ({"shared": 0}, []),
        ({"shared": 500}, []),
        ({"rich": False}, []),
        ({"width": 11, "shared": 4}, ["note"]),
        ({"width": 11, "shared": 10}, ["warning"]),
    ],
)
def test_rows_of_both_sides(change, expected):
    assert copied(replace(HELD, **change)) == expected


def test_unscored_rows_beside_a_clean_evaluation_are_pseudo_labels():
    unscored = replace(HELD, scored=False)
    assert copied(unscored, CLEAN) == ["note"]
    assert copied(unscored) == ["fault"]


def test_copies_within_the_training_set():
    split = Split("training", HERE, rows=1000, copies=100, rich=True, width=64)
    assert copied(split) == ["warning"]
    assert copied(replace(split, by_class=True)) == ["note"]
    assert copied(replace(split, copies=13)) == ["note"]
    assert copied(replace(split, copies=5)) == []


def kept(*loaders, splits=()):
    outcomes = keep_test_clean.check(Loaders(loaders), Samples(splits), Evaluations())
    return severities(outcomes)


def test_shared_indices_are_a_fault_and_the_training_set_itself_is_not():
    part = replace(TEST, overlaps=(Overlap(0, 100, 500, whole=False),))
    whole = replace(TEST, overlaps=(Overlap(0, 500, 500, whole=True),))
    inside = replace(TEST, overlaps=(Overlap(0, 500, 500, whole=False),))
    other = replace(TEST, number=2)
    assert kept(TRAINING, part) == ["fault"]
    assert kept(TRAINING, whole) == []
    assert kept(TRAINING, inside) == ["fault"]
    assert kept(TRAINING, replace(inside, name="train_eval_loader")) == []
    assert kept(TRAINING, inside, other) == []
    assert kept(TRAINING, replace(part, scored=False), other) == ["note"]


def test_a_test_loader_wears_out():
    assert kept(TRAINING, replace(TEST, name="test_loader", evaluations=20)) == ["note"]
    assert kept(TRAINING, replace(TEST, name="val_loader", evaluations=20)) == []


def test_rich_rows_cannot_be_equal_by_accident():
    rng = np.random.default_rng(0)
    assert bits(rng.normal(size=(500, 4)).astype(np.float32)) > 2 * np.log2(500) + 10
    assert bits(rng.integers(0, 5, (500, 6)).astype(np.float32)) < 2 * np.log2(500) + 10
    assert bits(rng.integers(0, 2, (500, 200)).astype(np.float32)) == 0


def test_drawn_with_replacement_and_oversampled():
    rng = np.random.default_rng(0)
    assert bootstrap(Counter(rng.integers(0, 2000, 2000).tolist()))
    assert not bootstrap(Counter([*range(2000), *range(300)]))
    labels = {i: int(i >= 900) for i in range(1000)}
    assert oversampled(Counter([*range(1000), *range(900, 1000)]), labels)
    assert not oversampled(Counter([*range(1000), *range(100)]), labels)


# -- no-corrupt-samples ---------------------------------------------------------------------------


SEEN = Input(
    LINE, "weights", "fc1", loader=0, rows=1000, looked=20, rms=0.5, bulk=0.8, low=0.0, high=1.0
)
SCALED = replace(SEEN, held_looks=4, held_rows=400, held_low=0.0, held_high=255.0, held_bulk=204.0)


def corrupt(*inputs, splits=(), crashes=()):
    probes = Inputs(inputs), Samples(splits), Crashes(crashes), Loaders([TRAINING])
    return list(no_corrupt_samples.check(*probes))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (SEEN, []),
        (SCALED, ["fault"]),
        (replace(SCALED, held_high=200.0), ["warning"]),
        (replace(SCALED, held_bulk=0.9), []),
        (replace(SCALED, held_high=200.0, held_looks=1), []),
        (replace(SEEN, broken=3, broken_rows=3, ruined=True), ["fault"]),
        (replace(SEEN, broken=3, broken_rows=3), ["note"]),
    ],
)
def test_ranges_and_broken_rows(seen, expected):
    assert severities(corrupt(seen)) == expected


def test_a_label_outside_the_classes_is_told_with_its_loader():
    (found,) = corrupt(crashes=[Crash("class", "Target 10 is out of bounds.", LINE, 0, 10, 10)])
    assert (found.severity, found.place, found.seen) == (
        "fault",
        HERE,
        "label 10 where 0 to 9 is possible",
    )
    assert corrupt(crashes=[Crash("other", "KeyError: 'x'", LINE)]) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, ["warning"]), ({"constant_classes": 1}, ["note"]), ({"constant": 1}, [])],
)
def test_blank_rows_with_labels(change, expected):
    split = Split("training", HERE, 0, 1000, rich=True, constant=20, constant_classes=7)
    assert severities(corrupt(splits=[replace(split, **change)])) == expected


def test_stray_values_stand_alone():
    column = Column(0, 0, 1, -3, 9999, levels=900, outlying=7000, rest=2.0)
    assert severities(corrupt(replace(SEEN, columns=(column,)))) == ["warning"]
    assert corrupt(replace(SEEN, columns=(replace(column, rest=60.0),))) == []


# -- inputs ---------------------------------------------------------------------------------------


PLAIN = Column(0, 0.0, 1.0, -3.0, 3.0, typical=0.7, levels=900)


def scaled(*columns, **changes):
    seen = replace(SEEN, columns=columns, **{"rms": 1.0, **changes})
    return severities(standardise_input.check(Inputs([seen])))


def test_scale_of_columns():
    assert scaled(PLAIN) == []
    assert scaled(PLAIN, replace(PLAIN, std=30.0)) == ["warning"]
    assert scaled(PLAIN, replace(PLAIN, mean=2015.0, std=5.0)) == ["warning"]
    assert scaled(replace(PLAIN, mean=0.9, std=0.1)) == []
    assert scaled(replace(PLAIN, mean=1.0, std=0.0, levels=1)) == []
    assert scaled(replace(PLAIN, mean=0.01, std=0.1, levels=2)) == []
    assert scaled(replace(PLAIN, std=0.01), rms=0.01) == ["warning"]
    assert scaled(replace(PLAIN, std=90.0), normed=True) == []
    assert scaled(PLAIN, replace(PLAIN, std=900.0), normed=True) == ["warning"]
    assert scaled(replace(PLAIN, std=90.0), kind="norm") == []


def tailed(*columns, **changes):
    seen = replace(SEEN, columns=columns, **{"rms": 1.0, **changes})
    return severities(tame_input_range.check(Inputs([seen])))


def test_tails_of_columns():
    heavy = replace(PLAIN, skew=14.0, high=30.0)
    rare = replace(heavy, common=0.9, others=80)
    assert tailed(PLAIN) == []
    assert tailed(heavy) == ["warning"]
    assert tailed(replace(PLAIN, typical=0.01, high=20.0)) == ["warning"]
    assert tailed(replace(heavy, levels=3)) == []
    assert tailed(replace(heavy, high=2.0)) == []
    assert tailed(replace(rare, stretch=3.0)) == []
    assert tailed(replace(rare, stretch=13.0)) == ["warning"]


# -- feed-the-accelerator -----------------------------------------------------------------------


SLOW = Wait(loader=0, ticks=100, typical=0.040, step=0.050, total=4.0)


def fed(wait, **changes):
    loaders = Loaders([replace(TRAINING, **changes)])
    return severities(feed_the_accelerator.check(Timing([wait]), loaders))


def test_waiting_for_data():
    assert fed(SLOW) == ["warning"]
    assert fed(SLOW, in_memory=True) == ["note"]
    assert fed(SLOW, workers=2) == ["note"]
    assert fed(replace(SLOW, device="cuda"), workers=2) == ["warning"]
    assert fed(replace(SLOW, typical=0.0004, step=0.001)) == []
    assert fed(replace(SLOW, typical=0.012)) == []
    assert fed(replace(SLOW, typical=0.012, device="cuda")) == ["warning"]
    assert fed(replace(SLOW, total=0.5)) == []
    assert fed(replace(SLOW, ticks=5)) == []
