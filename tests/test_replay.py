"""A recorded training pass gives its loss again, on copies, and leaves the user's run as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from recorded import recorded
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from nomagic.probes.recording import LARGEST
from nomagic.replay import CannotReplayError, Replay, Spy
from nomagic.subject import NoSubjectError, fits, pure, subject

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


def net(*extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), *extra, nn.Linear(12, 2))


def plain() -> None:
    model = net(nn.Dropout(0.5))
    F.cross_entropy(model(X), Y).backward()


def with_module_loss_divided() -> None:
    model, criterion = net(nn.BatchNorm1d(12)), nn.CrossEntropyLoss()
    (criterion(model(X), Y) / 4).backward()


def by_hand() -> None:
    w = torch.randn(6, 1, requires_grad=True)
    for _ in range(2):  # functions are heard from the second pass on
        pred = torch.tanh(X @ w)
        loss = ((pred - X[:, :1]) ** 2).mean() + 0.1 * w.pow(2).sum()
        loss.backward()


class ReturnsLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()
        self.kept: Tensor | None = None

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.kept = self.body(
            batch["x"]
        )  # an activation that stays: deepcopy alone would fail on it
        return {"loss": F.cross_entropy(self.kept, batch["y"]), "logits": self.kept}


def loss_inside() -> None:
    model = ReturnsLoss()
    for _ in range(2):
        model({"x": X, "y": Y})["loss"].backward()


def autocast() -> None:
    model = net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(X), Y)
    loss.backward()


def penalised_and_tied() -> None:
    model = net()
    head = nn.Linear(2, 2)
    loss = F.cross_entropy(head(model(X)), Y) + 0.01 * sum(
        p.abs().sum() for p in model.parameters()
    )
    loss.backward()


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0][-1])


class Penalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = net()
        self.penalty = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        self.penalty = h.abs().mean()
        return h


def penalty_left_on_the_model() -> None:
    model = Penalised()
    for _ in range(2):
        (F.cross_entropy(model(X), Y) + model.penalty).backward()


def packed() -> None:
    x = torch.randn(16, 5, 6)
    F.cross_entropy(Packed()(x, torch.arange(16) % 5 + 1), Y).backward()


@pytest.mark.parametrize(
    "script",
    [
        plain,
        with_module_loss_divided,
        by_hand,
        loss_inside,
        autocast,
        penalised_and_tied,
        penalty_left_on_the_model,
        packed,
    ],
    ids=lambda script: script.__name__,
)
def test_replay_gives_the_recorded_loss(script: Callable[[], None]) -> None:
    with recorded() as tapes:
        script()
    assert len(tapes) == 1, tapes.trouble
    Replay(tapes[0]).verify()


def test_recording_leaves_weights_gradients_and_randomness_alone() -> None:
    def train() -> tuple[list[Tensor], Tensor]:
        model = net(nn.Dropout(0.5), nn.BatchNorm1d(12))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
        return [*model.state_dict().values()], torch.rand(3)

    alone, drawn = train()
    with recorded() as tapes:
        watched, drawn_too = train()
    assert len(tapes) == 1
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert torch.equal(drawn, drawn_too)


def test_training_a_replay_does_not_touch_the_model() -> None:
    model = net()
    with recorded() as tapes:
        F.cross_entropy(model(X), Y).backward()
    before = [p.detach().clone() for p in model.parameters()]
    replay = Replay(tapes[0])
    optimizer = torch.optim.SGD(replay.parameters(), lr=0.1)
    replay.loss().backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert replay.loss().item() < tapes[0].value


def test_each_line_that_calls_backward_has_its_tape() -> None:
    generator, critic = nn.Linear(4, 6), nn.Linear(6, 1)
    with recorded() as tapes:
        for _ in range(3):
            fake = generator(torch.randn(16, 4))
            loss = critic(fake.detach()).mean() - critic(X).mean()
            loss.backward()
            loss = -critic(generator(torch.randn(16, 4))).mean()
            loss.backward()
    assert len({tape.place for tape in tapes}) == 2
    for tape in tapes:
        Replay(tape).verify()


def test_final_weights_are_those_at_the_end() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with recorded() as tapes:
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
    wanted = F.cross_entropy(model(X), Y)
    assert Replay(tapes[0], final=True).loss().item() == pytest.approx(wanted.item())
    assert tapes[0].value > wanted.item()


def test_what_cannot_be_recorded_is_said() -> None:
    with recorded() as tapes:
        offset = torch.zeros(2)
        logits = net()(X) + offset
        offset.add_(1.0)
        F.cross_entropy(logits, Y).backward()
    assert "changed in place" in tapes.trouble
    with recorded() as tapes:
        large = nn.Embedding(
            LARGEST // 4 // 8 + 1, 8, _weight=torch.empty(LARGEST // 4 // 8 + 1, 8)
        )
        large(torch.tensor([1])).sum().backward()
    assert "could not copy" in tapes.trouble


SEEN: list[int] = []


class Counts(nn.Module):
    """A model whose forward changes what it shares with nobody's copy."""

    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(1)
        return self.body(x) * len(SEEN)


def test_side_effects_are_found_out() -> None:
    with recorded() as tapes:
        F.cross_entropy(Counts()(X), Y).backward()
    with pytest.raises(CannotReplayError, match="a replay gives"):
        Replay(tapes[0]).verify()


def test_spy_sees_losses_wherever_they_are_called() -> None:
    for script in (plain, with_module_loss_divided, loss_inside):
        with recorded() as tapes:
            script()
        with Spy(dropout=False) as spy:
            Replay(tapes[0]).loss()
        assert [told.kind for told in spy.told] == ["cross_entropy"], script
    with recorded() as tapes:
        by_hand()
    with Spy() as spy:
        Replay(tapes[0]).loss()
    assert [told.kind for told in spy.told] == ["mse_loss"]


def test_subject_knows_data_targets_and_batch() -> None:
    with recorded() as tapes:
        plain()
    found = subject(tapes)
    assert torch.equal(found.tape.data[found.input].value, X)
    assert torch.equal(found.tape.data[found.target].value, Y)
    assert (found.batch, found.sure, found.single, found.classes) == (16, True, True, 2)
    assert fits(found)
    told = found.predict(found.calm(), found.sliced([3, 5]))[0]
    assert told.pred.shape == (2, 2)
    assert pure(told).item() > 0


def test_losses_without_given_targets_are_no_subject() -> None:
    with recorded() as tapes:
        logits = net()(X)
        F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    with pytest.raises(NoSubjectError) as reason:
        subject(tapes)
    assert not reason.value.apt
    with recorded() as tapes:
        a, b = net()(X), net()(X + 0.1)
        F.cross_entropy(a @ b.T, torch.arange(16)).backward()
    with pytest.raises(NoSubjectError, match="contrastive"):
        subject(tapes)
