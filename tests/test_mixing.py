"""Predictions that depend on other samples, or on their own answer, are found with their cause."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import recorded
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nomagic.practices.sanity import chart_dependencies
from nomagic.probes.mixing import Checked, Leak, Mixing
from nomagic.probes.subjects import Subjects

X = torch.randn(24, 10, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0].sum(1) > 0).long()
WORDS = torch.randint(0, 12, (24, 10), generator=torch.Generator().manual_seed(1))
TAGS = (WORDS + WORDS.roll(1, 1)) % 5


def mixing(train: Callable[[], None]) -> Mixing:
    torch.manual_seed(0)
    with recorded() as tapes:
        train()
    assert len(tapes), tapes.trouble
    found = Mixing()
    found.run = tapes.run
    found.run.deadline = time.perf_counter() + 60
    found.run.probe(Subjects).experiment()
    found.experiment()
    return found


class Reader(nn.Module):
    """A recurrent network; ``join`` makes one row of a sample's states, time first."""

    def __init__(
        self, join: Callable[[Tensor], Tensor], swap: bool = True, width: int = 80
    ) -> None:
        super().__init__()
        self.rnn, self.out, self.join, self.swap = nn.GRU(6, 8), nn.Linear(width, 2), join, swap

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.join(self.rnn(x.transpose(0, 1) if self.swap else x)[0]))


def trained_on_batch(model: nn.Module) -> Callable[[], None]:
    return lambda: F.cross_entropy(model(X), Y).backward()


def leak(model: nn.Module) -> Leak:
    (row,) = mixing(trained_on_batch(model))
    assert isinstance(row, Leak), row
    return row


def test_batch_first_is_clean():
    found = mixing(trained_on_batch(Reader(lambda states: states.transpose(0, 1).flatten(1))))
    assert list(found) == [Checked("samples")]
    assert not list(chart_dependencies.check(found))


def test_reshape_that_moves_the_batch():
    row = leak(Reader(lambda states: states.reshape(24, -1)))
    assert (row.cause, row.kind) == ("reshape", "reshape")
    assert row.shapes == ((10, 24, 8), (24, 80))
    (finding,) = chart_dependencies.check(Mixing([row]))
    assert finding.severity == "fault"


def test_recurrence_along_the_batch():
    row = leak(Reader(lambda states: states.flatten(1), swap=False))
    assert (row.cause, row.kind) == ("gru", "recurrent")


class Attends(nn.Module):
    """Attention across the batch, as some models mean it."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.out = nn.Linear(60, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        key = self.key(x.flatten(1))
        return self.out((key @ key.T / 4).softmax(1) @ key)


def test_products_across_the_batch_are_only_noted():
    row = leak(Attends())
    assert row.cause == "matmul"
    (finding,) = chart_dependencies.check(Mixing([row]))
    assert finding.severity == "note"


class Tagger(nn.Module):
    def __init__(self, classes: int, both_ways: bool = False, time_first: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 8)
        self.rnn = nn.LSTM(8, 8, batch_first=not time_first, bidirectional=both_ways)
        self.out = nn.Linear(16 if both_ways else 8, classes)
        self.time_first = time_first

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words)
        return self.out(self.rnn(x.transpose(0, 1) if self.time_first else x)[0])


@pytest.mark.parametrize("time_first", [False, True])
def test_predictions_and_targets_in_different_orders(time_first: bool):
    model = Tagger(5, time_first=time_first)

    def train() -> None:
        for words, tags in DataLoader(TensorDataset(WORDS, TAGS), batch_size=24):
            F.cross_entropy(model(words).reshape(-1, 5), tags.reshape(-1)).backward()

    row = mixing(train)[0]
    assert isinstance(row, Leak) == time_first
    assert not time_first or row.kind == "order"


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("time_first", [False, True])
def test_language_model_must_not_see_the_next_word(both_ways: bool, time_first: bool):
    model = Tagger(12, both_ways)
    model.rnn.batch_first = not time_first
    words = WORDS.T if time_first else WORDS
    x, y = (words[:-1], words[1:]) if time_first else (words[:, :-1], words[:, 1:])

    def train() -> None:
        F.cross_entropy(model(x).reshape(-1, 12), y.reshape(-1)).backward()

    rows = [row for row in mixing(train) if isinstance(row, Leak) or row.across == "time"]
    if both_ways:
        assert [(row.across, row.share) for row in rows] == [("time", 1.0)]
    else:
        assert rows == [Checked("time")]
