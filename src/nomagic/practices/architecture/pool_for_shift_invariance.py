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
"""

import math
from collections.abc import Iterator

from nomagic.probes.shifts import Shift, Shifts
from nomagic.words import Finding, NotApplicable, Outcome, Severity

SOURCES = ("000", "001", "BYU", "JJ", "ZHA19", "MIS17")
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
