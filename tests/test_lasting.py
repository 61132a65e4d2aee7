"""Training that is killed and goes on ends with the same bits; files that are no good say so."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nomagic.datasets import data
from nomagic.engine import lasting, plain
from nomagic.engine.lasting import CheckpointError, Curves
from nomagic.engine.plan import Plan
from nomagic.words import Form, Setup


class Noisy(nn.Module):
    """Dropout, batch norm, and noise of the user's own making."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.first = nn.Linear(form.features, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(16, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x.flatten(1))).relu()
        if self.training:
            h = h + 0.1 * torch.randn_like(h)
        return self.last(self.drop(h))


def steady(form: Form) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(form.features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(16, form.classes),
    )  # fmt: skip


def cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)


def few() -> Any:
    digits = data("digits")
    return replace(digits, x=digits.x[:300], y=digits.y[:300])


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {
        "data": few(),
        "model": steady,
        "optimizer": partial(torch.optim.AdamW, lr=0.01),
        "epochs": 6,
        "batch_size": 50,
        "schedule": cycle,
    }
    return Plan(Setup(**(given | changes)))


class Killed(BaseException):
    pass


def killed_after(epochs: int) -> lasting.Tell:
    def tell(done: int, _: Any) -> None:
        if done == epochs:
            raise Killed

    return tell


def weights(result: lasting.Result) -> list[Tensor]:
    return [tensor for net in result.networks for tensor in net.state_dict().values()]


OPTIMIZERS = {
    "adamw": partial(torch.optim.AdamW, lr=0.01),
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.003),
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_and_resumed_is_the_same_to_the_bit(
    optimizer: str, together: bool, tmp_path: Path
) -> None:
    make = partial(
        plan,
        members=2 if together else 1,
        model=steady if together else Noisy,
        optimizer=OPTIMIZERS[optimizer],
    )
    whole = lasting.train(make(), 7, tmp_path / "whole.safetensors", together=together)
    file = tmp_path / "killed.safetensors"
    for epoch in (1, 3, 5):
        with pytest.raises(Killed):
            lasting.train(make(), 7, file, together=together, tell=killed_after(epoch))
        torch.rand(3), random.random(), np.random.rand()
    again = lasting.train(make(), 7, file, together=together)
    assert again.curves == whole.curves
    assert len(again.networks) == make().setup.members
    for one, other in zip(weights(again), weights(whole), strict=True):
        assert torch.equal(one, other)


def test_without_a_checkpoint_in_between_at_most_that_is_lost(tmp_path: Path) -> None:
    whole = lasting.train(plan(), 7, tmp_path / "whole.safetensors", together=False)
    file = tmp_path / "killed.safetensors"
    with pytest.raises(Killed):
        lasting.train(plan(), 7, file, together=False, tell=killed_after(5), every=2)
    again = lasting.train(plan(), 7, file, together=False, every=2)
    assert all(torch.equal(*pair) for pair in zip(weights(again), weights(whole), strict=True))
    assert again.curves == whole.curves


def test_members_one_by_one_and_together_agree(tmp_path: Path) -> None:
    both = [
        lasting.train(
            plan(members=3, precision="float64"), 1, tmp_path / f"{together}.st", together=together
        )
        for together in (False, True)
    ]
    assert len(both[0].networks) == len(both[1].networks) == 3
    for one, other in zip(*map(weights, both), strict=True):
        torch.testing.assert_close(one, other)


def test_it_is_the_engines_own_training(tmp_path: Path) -> None:
    one = plan()
    trained = plain.fit(one, one.members([3])[0])
    result = lasting.train(one, 3, tmp_path / "one.st", together=False)
    assert result.curves[0].loss == trained.curve


def test_the_best_epoch_is_what_is_kept(tmp_path: Path) -> None:
    one = plan(optimizer=partial(torch.optim.SGD, lr=3.0), schedule=None, epochs=20)
    result = lasting.train(one, 3, tmp_path / "one.st", together=False)
    curve = result.curves[0]
    best = max(zip(curve.held["accuracy"], [-loss for loss in curve.held["loss"]], strict=True))
    assert curve.held["accuracy"][curve.best] == best[0]
    outputs, targets = plain.outputs_of(one, result.networks[0], one.part(3))
    assert float((outputs.argmax(1) == targets).double().mean()) == best[0]
    assert curve.best < curve.epochs - 1, "the last epoch is the best one: nothing was tested"


def test_patience_stops_early(tmp_path: Path) -> None:
    one = plan(epochs=60, patience=2, schedule=None)
    curve = lasting.train(one, 3, tmp_path / "one.st", together=False).curves[0]
    assert curve.epochs == curve.best + 3 < 60


def broken(form: Form) -> nn.Module:
    net = steady(form)
    net.register_buffer("seen", torch.zeros(()))
    net.register_forward_hook(_spoil)
    return net


def _spoil(net: nn.Module, _: Any, output: Tensor) -> Tensor:
    if net.training:
        net.seen += 1
    return output * torch.where(net.seen > 12, torch.nan, 1.0) if net.training else output


def test_after_a_nan_the_last_good_network_is_kept(tmp_path: Path) -> None:
    one = plan(model=broken)
    result = lasting.train(one, 3, tmp_path / "one.st", together=False)
    assert result.curves[0].failed == "nan"
    assert result.curves[0].best >= 0
    assert all(tensor.isfinite().all() for tensor in weights(result))


def test_a_full_disk_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "one.safetensors"
    with pytest.raises(Killed):
        lasting.train(plan(), 7, file, together=False, tell=killed_after(2))
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(lasting.os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"No space left.*make room"):
            lasting.train(plan(), 7, file, together=False)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    assert len(lasting.train(plan(), 7, file, together=False).curves[0].loss) == 6


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10\0\0\0\0\0\0\0{}              "])
def test_what_is_no_checkpoint_says_so(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        lasting.train(plan(), 7, file, together=False)


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    lasting.train(plan(), 7, file, together=False)
    for other in (plan(epochs=7), plan(rate=2.0), plan(batch_size=49)):
        with pytest.raises(CheckpointError, match="another training"):
            lasting.train(other, 7, file, together=False)


class Odd(torch.optim.SGD):
    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"extra": object()}


def test_a_state_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    one = plan(optimizer=partial(Odd, lr=0.1), schedule=None)
    with pytest.raises(CheckpointError, match="keeps a object"):
        lasting.train(one, 7, tmp_path / "one.st", together=False)


def test_curves_know_their_length() -> None:
    assert Curves(loss=[1.0, 0.5]).epochs == 2
