"""What is looked at: samples as they lie and as the network is fed them, and what was set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from nomagic import exhibits
from nomagic.datasets.samples import Data
from nomagic.looking import facts
from nomagic.words import Exhibit, Finding, Form, Gallery, Setup, Task

LOOKED = 6_000
"""Samples that are looked at closely, at most; of all, exact copies are counted."""
CELLS = 40_000_000
"""Numbers in them, at most."""
COLUMNS = 14
"""Columns of a row that are shown."""
FEWEST = 200
"""Samples that are looked at however large they are."""


class LookError(ValueError):
    """Data that cannot be looked at: says what came, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Samples that cannot be used and were set aside: why, how many, which.

    ``what`` ends the sentence "12 samples …"; ``fix`` says what to do. ``proven`` makes it a
    fault. ``x`` are the first of them, where they can be shown.
    """

    what: str
    fix: str
    count: int
    first: tuple[str, ...] = ()
    proven: bool = True
    x: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Given:
    """What a user named, before it is cut to what is looked at.

    ``data`` holds the samples that can be used, ``rows`` (n,) their numbers in what was given,
    ``parts`` which of them belong to the training, the validation, the test. Without ``labelled``
    the targets of ``data`` mean nothing. ``columns`` names the numbers of a table row, ``names``
    the samples. ``total`` is the number of samples that there are, where ``data`` are some of them.
    """

    data: Data
    setup: Setup | None = None
    rows: Tensor | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    labelled: bool = True
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    rate: int = 0
    total: int = 0


@dataclass(frozen=True, eq=False)
class Subject:
    """The samples that are looked at: (n, *shape) as they lie, ``fed`` as the network gets them.

    ``y`` (n, …) are their targets as `Data` keeps them, None where there are none; ``part`` (n,)
    says to which of ``parts`` each belongs; ``rows`` (n,) are their numbers in what was given,
    ``places`` (n,) in ``given.data``.
    """

    given: Given
    form: Form
    x: Tensor
    fed: Tensor
    y: Tensor | None
    rows: Tensor
    part: Tensor
    parts: tuple[str, ...]
    places: Tensor
    seed: int = 0

    def __len__(self) -> int:
        return len(self.x)

    @property
    def task(self) -> Task | None:
        """What is to be predicted; None where there are no targets."""
        return self.form.task if self.y is not None else None

    @property
    def codes(self) -> Tensor | None:
        """The class of each sample (n,); None where samples have none, or several."""
        known = self.y is not None and self.form.task in ("classification", "binary")
        return self.y.flatten().long() if known and self.y is not None else None

    @property
    def table(self) -> bool:
        """Whether a sample is a row of numbers, not tokens."""
        return len(self.form.shape) < 2 and not self.form.tokens

    @property
    def whole(self) -> bool:
        """Whether all samples are looked at."""
        return len(self) == (self.given.total or len(self.given.data))

    def flat(self) -> Tensor:
        """The fed inputs (n, numbers) in float32."""
        return self.fed.reshape(len(self), -1).float()

    def label(self, code: int) -> str:
        """The name of a class."""
        return facts.name(self.form.task, self.form.labels, code)

    def called(self, place: int) -> str:
        """A sample as people find it: its file, or its row."""
        row = int(self.rows[place])
        return self.given.names[row] if self.given.names else f"row {row}"

    def caption(self, place: int, *more: str) -> str:
        """A sample's name, its target, and what else is to be said."""
        return " · ".join(filter(None, (self.called(place), self.target(place), *more)))

    def target(self, place: int) -> str:
        """The target of a sample in a few words; empty where it has none."""
        if self.y is None or self.task in (None, "sequence"):
            return ""
        if self.codes is not None:
            return self.label(int(self.codes[place]))
        values = self.y[place].flatten()
        if self.task == "multi-label":
            return ", ".join(self.label(code) for code in values.nonzero().flatten().tolist())
        return f"target {float(values[0]):.4g}" if len(values) == 1 else ""

    def row(self, place: int, raw: bool = False) -> dict[str, str]:
        """A row of a table by column: words as words, numbers as they lie and as they are fed."""
        lies, fed = (x[place].flatten().tolist() for x in (self.x, self.fed))
        return self.named(lies, lies if raw or len(fed) != len(lies) else fed)

    def named(self, lies: list[float], fed: list[float]) -> dict[str, str]:
        """The numbers of a row by column, words as words."""
        coding = self.given.data.coding
        if coding is None or len(lies) != len(coding.names):
            names = self.given.columns or tuple(map(str, range(1, len(lies) + 1)))
            pairs = zip(names, lies, fed, strict=False)
            return {name: _number(one, other) for name, one, other in pairs}
        told: dict[str, str] = {}
        at = 0
        for column in coding.columns:
            width = len(column.names)
            if column.values:
                part = lies[at : at + width]
                told[column.name] = column.values[part.index(max(part))] if max(part) else "another"
            else:
                told[column.name] = _number(lies[at], fed[at])
            at += width
        return told

    def show(self, place: int, *said: str, raw: bool = False) -> Exhibit:
        """A sample as people see, hear or read it; ``raw`` as it lies, before any step."""
        x = self.x[place] if raw else self.fed[place]
        if self.table:
            return listed(self.row(place, raw), self.caption(place, *said))
        return exhibits.exhibit(
            x,
            self.form,
            self.caption(place, *said),
            self.given.columns,
            rate=self.given.rate,
            span=self.span,
        )

    @property
    def span(self) -> tuple[float, float] | None:
        """What is black and white in all images; None where that is 0 and 1."""
        sample = self.fed[:: max(1, len(self) // 200)].float()
        least, most = float(sample.min()), float(sample.max())
        return None if least >= 0 and most <= 1 else (least, most)

    def gallery(self, title: str, says: str, places: Iterable[tuple[int, str]]) -> Gallery:
        """Some samples, each with what is to be said of it."""
        return Gallery(title, says, tuple(self.show(place, said) for place, said in places))


def listed(row: Mapping[str, str], caption: str) -> Exhibit:
    """A row of a table by column, one a line."""
    lines = [f"{name}: {value}" for name, value in islice(row.items(), COLUMNS)]
    more = [f"and {len(row) - COLUMNS} more"] if len(row) > COLUMNS else []
    return Exhibit(caption, "text", text="\n".join(lines + more))


def _number(lies: float, fed: float) -> str:
    return f"{lies:.4g}" if lies == fed else f"{lies:.4g} → {fed:.3g}"


def chosen(count: int, features: int, samples: int | None, seed: int) -> Tensor:
    """The rows that are looked at: all, or some at random, always the same ones, in order."""
    most = samples or min(LOOKED, max(FEWEST, CELLS // max(1, features)))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:most].sort().values
