"""Strided convolution and pooling are not the same: pooling adds invariance to small shifts.

A convolution that skips pixels sees another picture when the image moves by one pixel; a
maximum over neighbours mostly stays.

Against: pooling aliases, too; blurring before skipping helps more (Zhang 2019). Both give the
same accuracy. On digits predictions flipped at one pixel: strided 16 %, max pool 6 %, average 3
%, max pool and blur 2 %.

Check: after the run, an image classifier with the final weights sees up to 256 training images
moved by one pixel in four directions. More flips than 10 % and than twice the errors, surely
(two standard errors), are a warning if pixels are skipped by convolutions and nothing pools; a
note otherwise. Images below 16 pixels are left out: there a pixel is a part of the picture.

Try: convolutions of stride 2 take steps of 1, and behind them and their norm and unit stands a max
pool, an average pool, or an anti-aliased max pool. In a network that has 2 x 2 max pools and no
such convolution, these become average pools or anti-aliased ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from nomagic.glimpse import Glimpse
from nomagic.probes.shifts import Shift, Shifts
from nomagic.words import Arm, Edit, Finding, NotApplicable, Outcome, Promise, Setup, Severity

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nomagic.parts.flow import Call, Flow

SOURCES = ("000", "001", "BYU", "JJ", "ZHA19", "MIS17")
PROMISE = Promise(
    "ImageNet: strided 47.2 %, max pool 47.1 % accuracy", "MIS17", "no difference", -0.1
)
FLIPS = 0.10
ERRORS = 2.0
SMALLEST = 16


def check(shifts: Shifts) -> Iterator[Outcome]:
    """Image classifiers that change their mind at one pixel."""
    yield from shifts.unanswered()
    for shift in shifts:
        if min(shift.size) < SMALLEST:
            yield NotApplicable(
                f"images of {shift.size[0]} x {shift.size[1]} pixels are too small to move"
            )
        elif least(shift) > max(FLIPS, ERRORS * shift.errors):
            yield flipping(shift)


def least(shift: Shift) -> float:
    """The share of flips, less two standard errors."""
    return shift.flips - 2 * math.sqrt(shift.flips * (1 - shift.flips) / shift.images)


def flipping(shift: Shift) -> Finding:
    """The finding for predictions that flip."""
    severity: Severity = "warning" if shift.strided and not shift.pooled else "note"
    where = f" ({shift.strided} skips pixels)" if shift.strided else ""
    return Finding(
        message="predictions flip when the image moves by one pixel",
        seen=f"{shift.flips:.0%} of the predictions of {shift.images} images, with "
        f"{shift.errors:.0%} errors{where}",
        fix="convolve with stride 1 and pool after it, blur before skipping, or augment by shifts",
        severity=severity,
        place=shift.place,
    )


# -- try ------------------------------------------------------------------------------------------


def apply(setup: Setup, glimpse: Glimpse) -> Iterator[Arm | NotApplicable]:
    """Pools of three kinds where every second pixel is skipped."""
    from nomagic.parts.flow import observe
    from nomagic.parts.rehearsal import arms

    flow = observe(glimpse.model, glimpse.sample)
    strided = any(_skips(call) for call in flow.calls)
    if not strided and not any(call.name == "max_pool2d" for call in flow.calls):
        yield NotApplicable("no convolution or max pool skips every second pixel of a map")
        return
    change = pool if strided else pool_otherwise
    what = "stride 1 and {} pooling instead of stride 2" if strided else "{} instead of max pooling"
    kinds = ("max", "average", "anti-aliased") if strided else ("average", "anti-aliased")
    edits = [
        (Edit(f"pool-{kind}", partial(change, kind=kind)), what.format(kind)) for kind in kinds
    ]
    yield from arms(setup, glimpse, edits)


def pool(model: nn.Module, sample: Tensor, kind: str) -> nn.Module:
    """Pool behind convolutions of stride 2, which take steps of 1 instead."""
    from torch import nn

    from nomagic.parts.flow import UNITS, observe
    from nomagic.parts.surgery import SurgeryError, behind, lift

    model = lift(model, sample, UNITS.keys(), lambda flow: [end for _, end in _ends(flow)], True)
    ends = _ends(observe(model, sample))
    for convolution, _ in ends:
        if isinstance(convolution.module, nn.Conv2d):
            convolution.module.stride = (1, 1)
    if not ends:
        raise SurgeryError("there is no convolution of stride 2")
    return behind(model, {end.module: _pool(kind, True) for _, end in ends if end.module})


def pool_otherwise(model: nn.Module, sample: Tensor, kind: str) -> nn.Module:
    """Another pool in place of max pools that halve a map."""
    from nomagic.parts.flow import observe
    from nomagic.parts.surgery import SurgeryError, lift, substitute

    model = lift(model, sample, {"max_pool2d"})
    flow = observe(model, sample)
    new: dict[nn.Module, nn.Module] = {}
    for call in flow.calls:
        if call.name == "max_pool2d" and call.module is not None and call.sources:
            high, low = flow.calls[call.sources[0]].shape[-2:], call.shape[-2:]
            halved = [tuple(n // 2 for n in high), tuple(-(-n // 2) for n in high)]
            if tuple(low) in halved:
                new[call.module] = _pool(kind, ceil_mode=tuple(low) != halved[0])
    if not new:
        raise SurgeryError("there is no max pool that makes a map half as wide")
    return substitute(model, new)


def _pool(kind: str, ceil_mode: bool) -> nn.Module:
    from torch import nn

    from nomagic.parts.pools import AntiAliasedMaxPool2d

    kinds: dict[str, Callable[[], nn.Module]] = {
        "max": lambda: nn.MaxPool2d(2, ceil_mode=ceil_mode),
        "average": lambda: nn.AvgPool2d(2, ceil_mode=ceil_mode),
        "anti-aliased": lambda: AntiAliasedMaxPool2d(ceil_mode),
    }
    return kinds[kind]()


def _skips(call: Call) -> bool:
    """Whether a convolution skips every second pixel both ways."""
    from torch import nn

    return isinstance(call.module, nn.Conv2d) and tuple(call.module.stride) == (2, 2)


def _ends(flow: Flow) -> list[tuple[Call, Call]]:
    """Each convolution that skips pixels, with the last call of its row of norm and unit."""
    return [(call, flow.last(call)) for call in flow.calls if _skips(call)]
