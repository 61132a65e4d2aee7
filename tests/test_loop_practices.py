"""The practices about losses and rates, on rows that were filled in by hand."""

import math

from nomagic.practices.optimisation import learning_rate_first, update_ratio
from nomagic.practices.sanity import no_periodic_loss, stop_at_first_nan
from nomagic.probes.batches import Batches
from nomagic.probes.breakdowns import Breakdowns
from nomagic.probes.descent import Descent, Loss
from nomagic.probes.optimizers import Optimized, Optimizers
from nomagic.probes.parameters import Moves, Parameters, Weight
from nomagic.probes.restores import Restores
from nomagic.probes.scalers import Scalers, Scaling
from nomagic.probes.trace import Trace
from nomagic.words import Finding, Place

LINE, OTHER = Place("train.py", 10), Place("train.py", 20)


def descent(values, rates=0.1, per_epoch=0):
    rows = [
        Loss(value, tick, tick, LINE, rates, 0 if per_epoch else -1, *divmod(tick, per_epoch or 1))
        for tick, value in enumerate(values)
    ]
    probe = Descent(rows)
    probe.loaders = [OTHER]
    return probe


def layers(update, early=None, count=3):
    looks = tuple(
        Moves(step + 1, step, 1.0, 1.0, early if early and step < 10 else update, 0.1)
        for step in range(0, 300, 5)
    )
    return Parameters(
        [
            Weight(
                f"{i}.weight", kind="Linear", shape=(8, 8), optimizers=(0,), sampled=64, looks=looks
            )
            for i in range(count)
        ]
    )


def optimizer(kind="SGD", steps=300):
    return Optimizers([Optimized(0, kind, OTHER, LINE, steps, began=1)])


def rate(values, update=1e-3, early=None):
    found = list(
        learning_rate_first.check(descent(values), optimizer(), layers(update, early), Restores())
    )
    return [f.message for f in found if isinstance(f, Finding)]


def test_rate():
    falling = [2.3 * 0.99**i for i in range(300)]
    flat = [2.3 + 0.02 * math.sin(i) for i in range(300)]
    assert not rate(falling)
    assert not rate(flat), "a hard task at a good rate"
    assert "low" in rate(flat, update=1e-6)[0]
    assert not rate(flat[:150], update=1e-6), "too short to tell"
    assert "high" in rate([2.3, 50, 900, 30, *flat])[0]
    assert not rate([2.3, 50, 900, 30, *falling]), "it came back soon"
    assert "high" in rate([2.3, *[50.0] * 12, *falling])[0]
    assert "high" in rate([2.3, 8.0, 400.0, 1e9, math.nan, math.nan])[0]
    assert not rate([2.3, 2.1, math.nan, math.nan]), "that is stop-at-first-nan's"
    assert not rate([(-1) ** i * 5.0 for i in range(300)]), "not meant to fall"


def ratio(kind, update, early=None, values=None):
    losses = values or [2.3] * 300
    found = update_ratio.check(layers(update, early), optimizer(kind), descent(losses), Restores())
    return [f.message for f in found if isinstance(f, Finding)]


def test_ratio():
    assert not ratio("Adam", 1e-3)
    assert "large" in ratio("Adam", 1e-2, early=1.2)[0]
    assert not ratio("SGD", 1e-2, early=1.2)
    assert "large" in ratio("SGD", 1e-2, early=2.5)[0]
    assert "large" in ratio("SGD", 0.2)[0]
    assert "small" in ratio("SGD", 1e-7)[0]
    assert not ratio("SGD", 1e-7, values=[2.3 * 0.99**i for i in range(300)])


def periodic(values, per_epoch=40, **more):
    found = no_periodic_loss.check(descent(values, per_epoch=per_epoch, **more), Batches(), Trace())
    return [(f.severity, f.place) for f in found if isinstance(f, Finding)]


def test_period():
    noise = [math.sin(i * i * 0.7) for i in range(1000)]
    order = [0.2 * noise[i % 40] + 2 * 0.999**i for i in range(400)]
    assert periodic(order) == [("warning", OTHER)]
    assert not periodic([0.2 * noise[i] + 2 * 0.999**i for i in range(400)])
    assert not periodic([2 - 0.01 * (i % 40) + 0.2 * noise[i] for i in range(400)]), "smooth within"
    assert not periodic(order[:240]), "too short"


def nan(values, scalers=()):
    found = list(stop_at_first_nan.check(descent(values), Breakdowns(), Scalers(scalers)))
    return [f.severity for f in found]


def test_nan():
    good = [2.0] * 100
    assert nan(good) == []
    assert nan([*good, math.nan]) == ["fault"]
    assert nan([*good, math.inf, *[math.nan] * 5]) == ["fault"]
    assert nan([*good, math.nan, *good]) == ["note"]
    assert nan([1.0, math.nan] * 50 + [1.0]) == ["warning"]
    assert nan(good, [Scaling(100, tuple(range(20)))]) == []
    assert nan(good, [Scaling(150, tuple(range(60, 80)))]) == ["warning"]
