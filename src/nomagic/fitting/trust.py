"""Whether a trained model knows what it does not know: the evidence, in words and pictures.

Temperature and intervals are fitted on validation data; all that is told is measured on test data,
as they are and shifted. Ovadia et al. 2019 (arXiv:1906.02530) is why the shifts: calibration
that holds on data of the same kind does often not hold on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from nomagic.engine.draws import generator, stream
from nomagic.fitting import quality
from nomagic.fitting.quality import Noise, Quality
from nomagic.fitting.shifts import Shift, shifts
from nomagic.words import Form, NotApplicable, Picture, Series, Stage, Task

Predict = Callable[[Tensor], Tensor]
"""From raw inputs (n, *shape) to the outputs of every member, (members, n, …)."""
WRONG = 0.01
"""The share of wrong answers that a threshold is to promise."""
LEFT = 0.9
"""The share of inputs that are answered where the least sure ones are left to a person."""
SHIFTED = 500
"""Test inputs that are shifted, at most."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How good predictions are for shifted inputs."""

    name: str
    severity: int
    amount: str
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of a model: every number that sentences and pictures are made of.

    ``plain`` is its quality on test data without temperature, ``final`` with it, ``alone`` the mean
    over members on their own. ``dropout`` is the quality of one member whose dropout stays on, or
    why there is none. ``threshold`` is what `nomagic.fitting.quality.threshold` gave; it is None
    where nothing can be promised, or samples hold several decisions.
    """

    task: Task
    members: int
    validated: int
    temperature: float
    noise: Noise | None
    plain: Quality
    final: Quality
    alone: dict[str, float]
    dropout: Quality | str
    wrong: float
    threshold: float | None
    answered: float
    moved: tuple[Moved, ...] = field(default=())


def evidence(
    form: Form,
    members: Predict,
    x_val: Tensor,
    y_val: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    dropout: Callable[[Tensor], Tensor | NotApplicable] | None = None,
    seed: int = 0,
    wrong: float = WRONG,
) -> Stage:
    """The stage ``trust``: how sure the model is, and how sure it should be.

    Args:
        form: what goes in and comes out.
        members: outputs of all members for raw inputs, in evaluation mode.
        x_val: validation inputs (n, *shape), on which temperature and intervals are fitted.
        y_val: their targets.
        x_test: test inputs.
        y_test: their targets.
        dropout: outputs of one member with its dropout on, as `nomagic.fitting.dropout.passes`
            gives them, for raw inputs.
        seed: of the shifts.
        wrong: the share of wrong answers that a threshold is to promise.

    Raises:
        QualityError: outputs and targets do not fit together.
    """
    found = measure(form, members, (x_val, y_val), (x_test, y_test), dropout, seed, wrong)
    tell = _regression if found.task == "regression" else _choices
    says, pictures = tell(found)
    return Stage("trust", says=says, numbers=_numbers(found), pictures=pictures)


def measure(
    form: Form,
    members: Predict,
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    dropout: Callable[[Tensor], Tensor | NotApplicable] | None = None,
    seed: int = 0,
    wrong: float = WRONG,
) -> Trust:
    """All that `evidence` tells, as numbers; the arguments are the same."""
    task, held, outputs = form.task, members(validation[0]), members(test[0])
    heat = quality.temperature(held, validation[1], task)
    known = quality.noise(held, validation[1]) if task == "regression" else None
    pairs = zip(held, outputs, strict=True)
    each = [_raw(one[None], other[None], validation[1], test[1], task) for one, other in pairs]
    cut = _threshold(held, validation[1], task, heat, wrong)
    return Trust(
        task=task,
        members=len(outputs),
        validated=len(validation[1]),
        temperature=heat,
        noise=known,
        plain=quality.judge(outputs, test[1], task, noise=known),
        final=quality.judge(outputs, test[1], task, heat, known),
        alone={name: fmean(one.numbers[name] for one in each) for name in each[0].numbers},
        dropout=_dropped(dropout, validation, test, task),
        wrong=wrong,
        threshold=cut,
        answered=math.nan if cut is None else _answered(outputs, test[1], task, heat, cut),
        moved=tuple(_moved(form, members, test, heat, known, seed)),
    )


def _threshold(
    outputs: Tensor, targets: Tensor, task: Task, heat: float, wrong: float
) -> float | None:
    """The threshold; none in tasks whose decisions are not independent."""
    if task not in ("classification", "binary"):
        return None
    found = quality.decisions(outputs, targets, task, heat)
    cut = quality.threshold(found.confidence, found.correct, wrong)
    return None if cut is None else max(0.0, cut)


def _answered(outputs: Tensor, targets: Tensor, task: Task, heat: float, cut: float) -> float:
    """The share of test inputs that are answered."""
    found = quality.decisions(outputs, targets, task, heat)
    return float((found.confidence > cut).double().mean())


def _raw(held: Tensor, outputs: Tensor, y_val: Tensor, y_test: Tensor, task: Task) -> Quality:
    """The quality of outputs without temperature; a regression's noise is their own."""
    known = quality.noise(held, y_val) if task == "regression" else None
    return quality.judge(outputs, y_test, task, noise=known)


def _dropped(
    dropout: Callable[[Tensor], Tensor | NotApplicable] | None,
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    task: Task,
) -> Quality | str:
    if dropout is None:
        return "it was not asked for"
    outputs = dropout(test[0])
    if isinstance(outputs, NotApplicable):
        return outputs.reason
    held = dropout(validation[0]) if task == "regression" else outputs
    assert isinstance(held, Tensor), "a network that drops units does so for all inputs"
    return _raw(held, outputs, validation[1], test[1], task)


def _moved(
    form: Form,
    members: Predict,
    test: tuple[Tensor, Tensor],
    heat: float,
    known: Noise | None,
    seed: int,
) -> list[Moved]:
    """The quality under each shift, of the same test inputs; first that of no shift."""
    random = generator(stream(seed, "shifted"))
    rows = torch.randperm(len(test[1]), generator=random)[:SHIFTED].sort().values
    x, y = test[0][rows], test[1][rows]
    every = [Shift("none", 0, "as they are", x), *shifts(form, x, seed)]
    return [
        Moved(one.name, one.severity, one.amount, _judged(members(one.x), y, form, heat, known))
        for one in every
    ]


def _judged(
    outputs: Tensor, targets: Tensor, form: Form, heat: float, known: Noise | None
) -> dict[str, float]:
    numbers = quality.judge(outputs, targets, form.task, heat, known).numbers
    if known is not None:
        numbers["expected"] = math.sqrt(numbers.get("spread", 0.0) ** 2 + fmean(known.variance))
    return numbers


def _numbers(found: Trust) -> dict[str, Any]:
    """The same as plain values."""
    dropout = found.dropout
    return {
        "temperature": found.temperature,
        "temperature_at_end": quality.at_end(found.temperature),
        "noise": None if found.noise is None else asdict(found.noise),
        "threshold": found.threshold,
        "wrong": found.wrong,
        "answered": found.answered,
        "samples": found.final.samples,
        "test": found.final.numbers,
        "without_temperature": found.plain.numbers,
        "alone": found.alone,
        "dropout": dropout.numbers if isinstance(dropout, Quality) else dropout,
        "shifts": [asdict(one) for one in found.moved],
        **_noticed(found),
    }


def _noticed(found: Trust) -> dict[str, float]:
    """The mean over shifts of what is lost, and of what the model notices of it."""
    if found.task == "regression":
        return {}
    start, rest = found.moved[0].numbers, [one.numbers for one in found.moved[1:]]
    lost = start["accuracy"] - fmean(one["accuracy"] for one in rest)
    doubt = start["confidence"] - fmean(one["confidence"] for one in rest)
    known = [one["detection"] for one in rest if not math.isnan(one["detection"])]
    return {
        "lost": lost,
        "doubt": doubt,
        "overconfidence": fmean(one["confidence"] - one["accuracy"] for one in rest),
        "detection": fmean(known) if known else math.nan,
    }


# -- classes, yes or no, labels, tokens ------------------------------------------------------------

Told = tuple[tuple[str, ...], tuple[Picture, ...]]


def percent(share: float) -> str:
    """A share in words: ``2.4 %``."""
    return f"{100 * share:.1f} %"


def _choices(found: Trust) -> Told:
    says = (
        _error(found),
        _calibration(found),
        *_together(found, "error", percent),
        *_abstaining(found),
        *_knowing(found),
    )
    pictures = (
        _reliability(found),
        _counts(found),
        _curve(found, "share of answers that are wrong"),
        _ways(found),
        _under_shift(found),
    )
    return says, pictures


WORDS: Mapping[Task, str] = {"multi-label": "labels", "sequence": "tokens"}


def _error(found: Trust) -> str:
    numbers, word = found.final.numbers, WORDS.get(found.task, "answers")
    text = (
        f"{percent(numbers['error'])} of {found.final.samples} {word} on the test data are wrong "
        f"(95 % interval: {percent(numbers['error_low'])} to {percent(numbers['error_high'])})."
    )
    if found.task == "sequence":
        text += (
            f" The loss is {numbers['nll']:.3f} ± {numbers['nll_half']:.3f} nats a token "
            f"({numbers['bits']:.3f} bits)."
        )
    return text


def _calibration(found: Trust) -> str:
    before, after = found.plain.numbers, found.final.numbers
    low, high = 1 - before["error_high"], 1 - before["error_low"]
    sure = before["confidence"]
    kind = "too sure" if sure > high else "not sure enough" if sure < low else "about right"
    end = (
        ", an end of its range: the logits say little" if quality.at_end(found.temperature) else ""
    )
    return (
        f"The model's mean confidence is {percent(sure)} and it is right in "
        f"{percent(before['accuracy'])}: {kind}. A temperature of {found.temperature:.2f}{end}, "
        f"fitted on {found.validated} validation samples, changes the calibration error from "
        f"{percent(before['ece'])} to {percent(after['ece'])}; with so few samples a perfect model "
        f"would show {percent(after['ece_by_chance'])}. The loss goes from {before['nll']:.3f} to "
        f"{after['nll']:.3f} nats."
    )


def _together(found: Trust, name: str, told: Callable[[float], str]) -> list[str]:
    """Ensemble against one member, and against dropout."""
    says: list[str] = []
    plain, alone = found.plain.numbers, found.alone
    kind = {"error": "error", "rmse": "error (RMSE)"}[name]
    if found.members > 1:
        says.append(
            f"The {found.members} networks together have an {kind} of {told(plain[name])}, one "
            f"alone {told(alone[name])} in the mean; the losses are {plain['nll']:.3f} and "
            f"{alone['nll']:.3f} nats."
        )
    if isinstance(found.dropout, str):
        return [*says, f"Dropout as a measure of doubt: not here, {found.dropout}."]
    numbers = found.dropout.numbers
    says.append(
        f"One network with its dropout on has an {kind} of {told(numbers[name])} and a loss of "
        f"{numbers['nll']:.3f} nats."
    )
    return says


def _abstaining(found: Trust) -> list[str]:
    says: list[str] = []
    point = min(found.final.abstention, key=lambda one: abs(one.coverage - LEFT))
    says.append(
        f"Where the least sure {percent(1 - point.coverage)} are left to a person, "
        f"{percent(point.error)} of the other answers are wrong."
    )
    if found.task not in ("classification", "binary"):
        return says
    if found.threshold is None:
        says.append(
            f"No threshold can promise at most {percent(found.wrong)} wrong answers from "
            f"{found.validated} validation samples: it takes more of them, or a better model."
        )
    else:
        says.append(
            f"Answers with a confidence above {percent(found.threshold)} are wrong in at most "
            f"{percent(found.wrong)} of the cases, which holds with 95 % certainty on data of "
            f"the same kind; {percent(found.answered)} of the test data are answered so."
        )
    return says


def _knowing(found: Trust) -> list[str]:
    noticed, start = _noticed(found), found.final.numbers["detection"]
    worst = max(
        found.moved[1:], key=lambda one: one.numbers["confidence"] - one.numbers["accuracy"]
    )
    numbers = worst.numbers
    says = [
        f"A right answer is more confident than a wrong one in {percent(start)} of all pairs."
        if not math.isnan(start)
        else "All answers are right, or all wrong: whether doubt shows errors cannot be seen."
    ]
    if noticed["lost"] < 0.01:
        return [*says, "The shifts cost it less than one point of accuracy in the mean."]
    share = max(0.0, noticed["doubt"]) / noticed["lost"]
    part = "all" if share >= 1 else f"{share:.0%}" if share > 0 else "nothing"
    loss, doubt = 100 * noticed["lost"], 100 * noticed["doubt"]
    says.append(
        f"Shifted inputs cost {loss:.1f} points of accuracy in the mean and {doubt:.1f} points of "
        f"confidence: the model notices {part} of what it loses."
    )
    says.append(
        f"It is most mistaken about itself under {worst.name} ({worst.amount}): it says "
        f"{percent(numbers['confidence'])} and is right in {percent(numbers['accuracy'])}."
    )
    return says


# -- pictures --------------------------------------------------------------------------------------

DIAGONAL = Series("confidence and accuracy agree", (0.0, 1.0), (0.0, 1.0), kind="guide")


def _bins(name: str, found: Quality) -> Series:
    return Series(
        name,
        tuple(one.confidence for one in found.bins),
        tuple(one.accuracy for one in found.bins),
        tuple(one.low for one in found.bins),
        tuple(one.high for one in found.bins),
        "points",
    )


def _reliability(found: Trust) -> Picture:
    before, after = found.plain.numbers, found.final.numbers
    return Picture(
        "Does confidence match accuracy?",
        f"Points below the line are too sure. The calibration error is {percent(before['ece'])} "
        f"before the temperature and {percent(after['ece'])} after it. Intervals hold at 95 %.",
        "confidence (mean of a bin)",
        "share that is right",
        (DIAGONAL, _bins("before", found.plain), _bins("after", found.final)),
    )


def _counts(found: Trust) -> Picture:
    bins = found.final.bins
    most = max(bins, key=lambda one: one.count)
    return Picture(
        "How often is it how sure?",
        f"{most.count} of {found.final.samples} have a confidence of about "
        f"{percent(most.confidence)}.",
        "confidence (mean of a bin)",
        "predictions",
        (
            Series(
                "test data",
                tuple(f"{one.confidence:.2f}" for one in bins),
                tuple(float(one.count) for one in bins),
                kind="bars",
            ),
        ),
    )


def _curve(found: Trust, unit: str) -> Picture:
    points = found.final.abstention
    whole, half = points[-1], points[len(points) // 2 - 1]
    series = [
        Series(
            "by confidence" if found.task != "regression" else "by the networks' agreement",
            tuple(one.coverage for one in points),
            tuple(one.error for one in points),
        ),
        Series("at random", (0.0, 1.0), (whole.error, whole.error), kind="guide"),
    ]
    return Picture(
        "What if it may say 'I do not know'?",
        f"With all inputs answered the error is {whole.error:.3g}, with the surer half of them "
        f"{half.error:.3g}.",
        "share of inputs that are answered",
        unit,
        tuple(series),
    )


def _ways(found: Trust) -> Picture:
    """The losses of one network, of all, of dropout, and with temperature."""
    ways: dict[str, float] = {"one network": found.alone["nll"]}
    if found.members > 1:
        ways[f"{found.members} networks"] = found.plain.numbers["nll"]
    if isinstance(found.dropout, Quality):
        ways["dropout on"] = found.dropout.numbers["nll"]
    if found.temperature != 1:
        ways["with temperature"] = found.final.numbers["nll"]
    best = min(ways, key=lambda name: ways[name])
    values = tuple(ways.values())
    return Picture(
        "Which way of asking is best?",
        f"{best.capitalize()} has the lowest loss on the test data, {ways[best]:.3f} nats.",
        "",
        "loss on the test data (nats)",
        (Series("loss", tuple(ways), values, kind="bars"),),
    )


def _by_name(found: Trust, x: str, y: str) -> list[Series]:
    """Points by shift, mildest first."""
    names = dict.fromkeys(one.name for one in found.moved)
    groups = {name: [one for one in found.moved if one.name == name] for name in names}
    return [
        Series(
            name if name != "none" else "not shifted",
            tuple(one.numbers[x] for one in group),
            tuple(one.numbers[y] for one in group),
            kind="points",
        )
        for name, group in groups.items()
    ]


def _under_shift(found: Trust) -> Picture:
    noticed = _noticed(found)
    off = 100 * noticed["overconfidence"]
    kind = "surer than it should be" if off > 0 else "less sure than it could be"
    return Picture(
        "Does it notice strange inputs?",
        f"Each point is one shift at one severity; below the line the model is too sure. In the "
        f"mean it is {abs(off):.1f} points {kind}.",
        "mean confidence",
        "share that is right",
        (DIAGONAL, *_by_name(found, "confidence", "accuracy")),
    )


# -- numbers ---------------------------------------------------------------------------------------


def _regression(found: Trust) -> Told:
    numbers, known = found.final.numbers, found.noise
    assert known is not None, "a regression has noise"
    low, high = quality.wilson(numbers["coverage"] * found.final.samples, found.final.samples)
    error = (
        f"The error on {found.final.samples} test samples is {numbers['rmse']:.4g} (RMSE) and "
        f"{numbers['mae']:.4g} (mean absolute); it explains {percent(numbers['r2'])} of the "
        "variance."
    )
    held = (
        f"Intervals that are to hold {percent(known.level)} of the targets, fitted on "
        f"{found.validated} validation samples, hold {percent(numbers['coverage'])} of those of "
        f"the test (95 % interval: {percent(low)} to {percent(high)}); they are "
        f"{numbers['width']:.4g} wide in the mean."
    )
    says = [error, held, *_together(found, "rmse", "{:.4g}".format)]
    pictures = [_ways(found), _expected(found)]
    if found.final.abstention:
        points = found.final.abstention
        half, whole = points[len(points) // 2 - 1], points[-1]
        says.append(
            f"For the half of the inputs on which the networks agree most the mean absolute error "
            f"is {half.error:.4g}, for all {whole.error:.4g}: their agreement is "
            f"{'a sign of a small error' if half.error < 0.9 * whole.error else 'no help here'}."
        )
        pictures.append(_curve(found, "mean absolute error"))
    return (*says, _missing(found)), tuple(pictures)


def _missing(found: Trust) -> str:
    """What intervals are worth under shift."""
    worst = min(found.moved[1:], key=lambda one: one.numbers["coverage"])
    mean = fmean(one.numbers["coverage"] for one in found.moved[1:])
    return (
        f"Under shift its intervals hold {percent(mean)} of the targets in the mean; least under "
        f"{worst.name} ({worst.amount}), {percent(worst.numbers['coverage'])}."
    )


def _expected(found: Trust) -> Picture:
    points = [one.numbers for one in found.moved]
    most = max(max(one["expected"], one["rmse"]) for one in points)
    ratio = fmean(one["rmse"] / one["expected"] for one in points[1:])
    return Picture(
        "Does it notice strange inputs?",
        "Each point is one shift at one severity; above the line the error is larger than the "
        f"model expects. Under shift it is {ratio:.2f} times as large in the mean.",
        "error that is expected (standard deviation)",
        "error (RMSE)",
        (
            Series("as expected", (0.0, most), (0.0, most), kind="guide"),
            *_by_name(found, "expected", "rmse"),
        ),
    )
