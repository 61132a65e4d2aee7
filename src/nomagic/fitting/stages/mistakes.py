"""What the model gets wrong on the test part: what is taken for what, and the worst of it to see.

A mistake is the worse the surer the model was of it; of a regression, the further it is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nomagic.datasets import Data
from nomagic.exhibits import exhibit
from nomagic.parts.presets.kinds import kind
from nomagic.words import Exhibit, Form, Gallery, Picture, Series

SHOWN, HEARD = 12, 8
"""Mistakes that are shown; fewer where they are sounds."""
CLASSES = 24
"""Classes in a map of what is taken for what; of more, those with the most mistakes."""
DRAWN = 400
"""Points of a picture of predictions."""


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Sentences, pictures and galleries on what went wrong; empty where nothing can be told."""

    says: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    galleries: tuple[Gallery, ...] = ()


def of(data: Data, outputs: Tensor, targets: Tensor, temperature: float = 1.0) -> Mistakes:
    """Look at the answers to all samples of ``data``.

    Args:
        data: the samples, whose inputs are shown.
        outputs: of the model for them (n, …), logits or numbers, in the unit of the targets.
        targets: what is right.
        temperature: by which logits are divided.
    """
    task = data.form.task
    if task in ("classification", "binary"):
        return _choices(data, outputs, targets, temperature)
    if task == "regression":
        return _distances(
            data, outputs.reshape(len(targets), -1), targets.reshape(len(targets), -1)
        )
    return Mistakes()


# -- classes ------------------------------------------------------------------------------------


def _choices(data: Data, outputs: Tensor, targets: Tensor, temperature: float) -> Mistakes:
    logits = outputs.double().cpu() / temperature
    if data.form.task == "binary":
        logits = torch.stack([torch.zeros(len(logits)), logits.flatten()], 1)
    chances, true = logits.softmax(-1), targets.cpu().flatten().long()
    sure, said = chances.max(-1)
    counts = torch.zeros(chances.shape[1], chances.shape[1], dtype=torch.int64)
    counts.index_put_((true, said), torch.ones_like(true), accumulate=True)
    names = _names(data.form, len(counts))
    wrong = (said != true).nonzero().flatten()
    return Mistakes(
        tuple(_mixed_up(counts, names)),
        (_confusion(counts, names),),
        tuple(_worst(data, wrong, sure, said, true, names)),
    )


def _names(form: Form, count: int) -> tuple[str, ...]:
    if form.task == "binary" and len(form.labels) != count:
        return ("no", "yes")
    return tuple(
        form.labels[code] if code < len(form.labels) else str(code) for code in range(count)
    )


def _mixed_up(counts: Tensor, names: tuple[str, ...]) -> Iterator[str]:
    """The pair of classes that is mixed up most."""
    off = counts.clone().fill_diagonal_(0)
    most = int(off.max())
    if not most:
        yield "No answer is wrong on the test samples."
        return
    true, said = divmod(int(off.argmax()), len(off))
    yield (
        f"{int(off.sum())} answers are wrong. Most often {names[true]!r} is taken for "
        f"{names[said]!r}: {most} of {int(counts[true].sum())} times."
    )


def _confusion(counts: Tensor, names: tuple[str, ...]) -> Picture:
    off = counts.clone().fill_diagonal_(0)
    order = (off.sum(0) + off.sum(1)).argsort(descending=True, stable=True)
    kept = order[:CLASSES].sort().values.tolist()
    columns = tuple(names[one] for one in kept)
    if len(set(columns)) < len(columns):
        columns = tuple(f"{one}: {names[one]}" for one in kept)
    rows = [
        Series(name, columns, tuple(float(counts[one, other]) for other in kept), kind="map")
        for one, name in zip(kept, columns, strict=True)
    ]
    few = f" Of {len(names)} classes these have the most mistakes." if len(names) > CLASSES else ""
    return Picture(
        "What is taken for what",
        "A row holds the samples of one class, a column what the model said. What lies on the "
        f"diagonal is right; the rest are mistakes.{few}",
        "what the model said",
        "test samples",
        tuple(rows),
        log="y",
        rows="what is right",
    )


def _worst(
    data: Data, wrong: Tensor, sure: Tensor, said: Tensor, true: Tensor, names: tuple[str, ...]
) -> Iterator[Gallery]:
    """Mistakes, those first of which the model was surest; without any, the closest calls."""
    if len(wrong):
        rows = wrong[sure[wrong].argsort(descending=True, stable=True)]
        title = "The worst mistakes"
        says = (
            "Wrong answers on test samples, those first of which the model was surest. Would you "
            "have known? Is the label right?"
        )
    else:
        rows = sure.argsort(stable=True)
        title = "The closest calls"
        says = "No answer on the test samples is wrong; of these the model was least sure."
    some = rows[: _most(data)].tolist()
    captions = [_caption(names[true[row]], names[said[row]], float(sure[row])) for row in some]
    yield Gallery(title, says, _exhibits(data, some, captions))


def _caption(true: str, said: str, sure: float) -> str:
    found = f"{100 * sure:.0f} % sure"
    return f"{true}: right, {found}" if true == said else f"is {true}, said {said}, {found}"


# -- numbers ------------------------------------------------------------------------------------


def _distances(data: Data, outputs: Tensor, targets: Tensor) -> Mistakes:
    outputs, targets = outputs.double().cpu(), targets.double().cpu()
    off = (outputs - targets).abs()
    spread = targets.std(0).clamp(min=1e-12) if len(targets) > 1 else torch.ones(targets.shape[1])
    by_size = (off / spread).mean(1)
    rows = by_size.argsort(descending=True, stable=True)[: _most(data)].tolist()
    captions = [
        f"is {_told(targets[row])}, said {_told(outputs[row])}, off by {_told(off[row])}"
        for row in rows
    ]
    return Mistakes(
        (_how_far(off, targets),) if targets.shape[1] == 1 else (),
        (_against(outputs, targets),) if targets.shape[1] == 1 else (),
        (
            Gallery(
                "The worst predictions",
                "Test samples whose prediction is furthest off. Is there something that the inputs "
                "do not say, or is the target wrong?",
                _exhibits(data, rows, captions),
            ),
        ),
    )


def _how_far(off: Tensor, targets: Tensor) -> str:
    half, most = off.quantile(0.5), off.quantile(0.9)
    return (
        f"Half of the predictions are off by less than {float(half):.4g}, nine in ten by less than "
        f"{float(most):.4g}, in the unit of the target, which lies between "
        f"{float(targets.min()):.4g} and {float(targets.max()):.4g}."
    )


def _against(outputs: Tensor, targets: Tensor) -> Picture:
    """Predicted against true, at random where there are too many."""
    step = -(-len(targets) // DRAWN)
    true, said = targets[::step, 0].tolist(), outputs[::step, 0].tolist()
    ends = (min((*true, *said)), max((*true, *said)))
    slope = _slope(targets[:, 0], outputs[:, 0])
    lean = (
        " High targets are predicted too low and low ones too high, as happens where inputs say "
        "little."
        if slope < SHY
        else ""
    )
    return Picture(
        "Predicted against true",
        f"A point is a test sample; on the line the prediction is exact.{lean}",
        "true",
        "predicted",
        (
            Series("test samples", tuple(true), tuple(said), kind="points"),
            Series("exact", ends, ends, kind="guide"),
        ),
    )


SHY = 0.8
"""A slope of predicted over true below this is told."""


def _slope(true: Tensor, said: Tensor) -> float:
    centred = true - true.mean()
    return float((centred * (said - said.mean())).sum() / centred.square().sum().clamp(min=1e-12))


def _told(values: Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in values.tolist()[:4])


# -- shown --------------------------------------------------------------------------------------


def _most(data: Data) -> int:
    return HEARD if kind(data.form) == "waveform" else SHOWN


def _exhibits(data: Data, rows: list[int], captions: list[str]) -> tuple[Exhibit, ...]:
    if not rows:
        return ()
    inputs = data.batch(torch.tensor(rows))[0]
    names = data.coding.names if data.coding else ()
    return tuple(
        exhibit(x, data.form, caption, names) for x, caption in zip(inputs, captions, strict=True)
    )
