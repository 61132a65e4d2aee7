"""What the network was fed: ranges, copies, order; and the losses' inputs and targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nomagic.evidence.thin import ROWS
from nomagic.probes.batches import Batches, Feed
from nomagic.probes.inputs import Column, Input, Inputs
from nomagic.probes.samples import Samples, Split
from nomagic.words import Picture, Series

COLUMNS = 16
"""Columns of one input that are drawn."""
FEW = 4
"""Pictures of one kind."""


def inputs(seen: Inputs) -> Iterator[Picture]:
    """The range of what enters each network, and of its columns or channels."""
    rows = [one for one in seen if math.isfinite(one.low) and math.isfinite(one.high)][:ROWS]
    if rows:
        yield _ranges(rows)
    for one in [one for one in rows if one.columns][:FEW]:
        columns = sorted(one.columns, key=_off)[-COLUMNS:]
        names = tuple(f"column {column.index}" for column in columns)
        yield Picture(
            f"Columns that enter {one.layer or 'the network'}",
            "The mean of each column and one standard deviation to either side; of many columns, "
            "those that are furthest from centred.",
            "",
            "value",
            (
                Series(
                    "mean ± standard deviation",
                    names,
                    tuple(column.mean for column in columns),
                    tuple(column.mean - column.std for column in columns),
                    tuple(column.mean + column.std for column in columns),
                    kind="points",
                ),
                Series("zero", (names[0], names[-1]), (0.0, 0.0), kind="guide"),
            ),
        )


def _off(column: Column) -> float:
    """How many standard deviations the mean is away from zero; constants count as centred."""
    return abs(column.mean) / column.std if column.std > 0 else 0.0


def _ranges(rows: list[Input]) -> Picture:
    names = tuple(one.layer or one.type or "the network" for one in rows)
    held = [(name, one) for name, one in zip(names, rows, strict=True) if one.held_looks]
    series = [
        Series("training", names, tuple((one.low + one.high) / 2 for one in rows),
               tuple(one.low for one in rows), tuple(one.high for one in rows), kind="points")
    ]  # fmt: skip
    if held:
        series.append(
            Series(
                "evaluation",
                tuple(name for name, _ in held),
                tuple((one.held_low + one.held_high) / 2 for _, one in held),
                tuple(one.held_low for _, one in held),
                tuple(one.held_high for _, one in held),
                kind="points",
            )
        )
    return Picture(
        "What enters the network",
        "From the lowest to the highest value that was seen; a few units around zero are usual, "
        "and training and evaluation should agree.",
        "",
        "value",
        tuple(series),
    )


def samples(splits: Samples) -> Iterator[Picture]:
    """Rows that occur twice, that were trained on and evaluated, that are broken or constant."""
    rows = [one for one in splits if one.rows][:ROWS]
    counted = {
        "copies within": tuple(float(one.copies) for one in rows),
        "also trained on": tuple(float(one.shared) for one in rows),
        "constant": tuple(float(one.constant) for one in rows),
        "broken": tuple(float(one.broken) for one in rows),
    }
    names = tuple(_split(one) for one in rows)
    series = tuple(
        Series(what, names, numbers, kind="bars") for what, numbers in counted.items()
        if any(numbers)
    )  # fmt: skip
    if series:
        yield Picture(
            "Rows that are not what they seem",
            "How many rows of each part are copies of another row, were trained on as well, hold a "
            "single value, or hold no number.",
            "",
            "rows",
            series,
        )


def _split(one: Split) -> str:
    place = f" ({one.place})" if one.place else ""
    return f"{one.role}{place}, {one.rows:,} rows"


def batches(feeds: Batches) -> Iterator[Picture]:
    """How often batches come again, and how mixed their labels are."""
    rows = [one for one in feeds if one.batches][:ROWS]
    names = tuple(_feed(one, at) for at, one in enumerate(rows, 1))
    if any(one.again for one in rows):
        yield Picture(
            "Batches that came before",
            "Of all batches, those whose content had been seen before, and the others.",
            "",
            "batches",
            (
                Series("seen before", names, tuple(float(one.again) for one in rows), kind="bars"),
                Series(
                    "new", names, tuple(float(one.batches - one.again) for one in rows),
                    kind="bars",
                ),
            ),
        )  # fmt: skip
    labelled = [(name, one.labels) for name, one in zip(names, rows, strict=True) if one.labels]
    if labelled:
        yield Picture(
            "How mixed the batches are",
            "The share of a batch that its most frequent class has, on average, and what it would "
            "be after shuffling.",
            "",
            "share of the batch",
            (
                Series(
                    "as fed", tuple(name for name, _ in labelled),
                    tuple(labels.pure for _, labels in labelled), kind="bars",
                ),
                Series(
                    "shuffled", tuple(name for name, _ in labelled),
                    tuple(labels.chance for _, labels in labelled), kind="bars",
                ),
            ),
        )  # fmt: skip


def _feed(one: Feed, number: int) -> str:
    return str(one.cut or one.place or f"feed {number}")
