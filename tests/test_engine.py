"""The engines agree with each other and with an ordinary PyTorch loop, to the last digits."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from nomagic.datasets import data
from nomagic.engine import choose, convolutions, draws, plain, processes, scores, stacked
from nomagic.engine.casting import cast
from nomagic.engine.plan import Member, Plan, SetupError
from nomagic.words import Form, InputStep, Setup

ADAM = partial(torch.optim.Adam, lr=3e-3)
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.05),
    "momentum": partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "adam": ADAM,
    "adamw": partial(torch.optim.AdamW, lr=3e-3, weight_decay=0.1),
}


def mlp(form: Form, dropout: float = 0.0) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(form.features, 24),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(24, form.classes),
    )


def cnn(form: Form) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)) if len(form.shape) == 2 else nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(96, form.classes),
    )


class Attentive(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.attend = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.reshape(len(x), 8, 8))
        found, _ = self.attend(h, h, h, need_weights=False)
        return self.head(self.norm(h + found).mean(1))


class Convolved(nn.Module):
    """One convolution between others, pooled; ``flat`` views the maps instead of reshaping them."""

    def __init__(self, form: Form, conv: nn.Module, flat: bool = False) -> None:
        super().__init__()
        self.line, self.flat = isinstance(conv, nn.Conv1d), flat
        self.first = nn.Conv1d(8, 4, 1) if self.line else nn.Conv2d(1, 4, 1)
        self.conv, self.norm = conv, nn.BatchNorm1d(4) if self.line else nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveMaxPool1d(2) if self.line else nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(8 if self.line else 16, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x[:, 0] if self.line else x)
        h = self.pool(F.relu(self.norm(self.conv(h))))
        return self.head(h.view(len(h), -1) if self.flat else h.flatten(1))


CONVOLUTIONS = {
    "stride": partial(nn.Conv2d, 4, 4, 3, stride=2),
    "zeros": partial(nn.Conv2d, 4, 4, 3, padding=1),
    "same": partial(nn.Conv2d, 4, 4, 3, padding="same"),
    "reflect": partial(nn.Conv2d, 4, 4, 3, padding=1, padding_mode="reflect"),
    "circular": partial(nn.Conv2d, 4, 4, (3, 5), padding=(1, 2), padding_mode="circular"),
    "dilation": partial(nn.Conv2d, 4, 4, 3, dilation=2, bias=False),
    "groups": partial(nn.Conv2d, 4, 4, 3, groups=4),
    "1d": partial(nn.Conv1d, 4, 4, 3, stride=2, padding=1, padding_mode="replicate"),
    "transposed": partial(nn.ConvTranspose2d, 4, 4, 2, stride=2),
}


def square(count: int = 300) -> Any:
    digits = data("digits")
    return replace(digits, x=digits.x.reshape(-1, 1, 8, 8)[:count], y=digits.y[:count])


def convolved(form: Form, kind: str, flat: bool = False) -> nn.Module:
    return Convolved(form, CONVOLUTIONS[kind](), flat)


def flat() -> Any:
    digits = data("digits")
    return replace(digits, x=digits.x.reshape(len(digits), -1)[:500], y=digits.y[:500])


def setup(**changes: Any) -> Setup:
    given: dict[str, Any] = {
        "data": flat(),
        "model": mlp,
        "optimizer": ADAM,
        "epochs": 2,
        "batch_size": 50,
        "precision": "float64",
    }
    return Setup(**(given | changes))


VARIANTS = {
    **{name: setup(optimizer=optimizer) for name, optimizer in OPTIMIZERS.items()},
    "dropout": setup(model=partial(mlp, dropout=0.3)),
    "batch norm and channel dropout": setup(model=cnn),
    "attention": setup(model=Attentive),
    "clipping": setup(clip=0.05),
    "schedule": setup(
        schedule=lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.01, total_steps=steps
        )
    ),
    "rate and decay": setup(rate=2.0, decay=0.3),
    "smoothing": setup(smoothing=0.1),
    "ensemble": setup(members=3),
    "early stopping": setup(
        epochs=12, patience=1, optimizer=partial(torch.optim.SGD, lr=1.5, momentum=0.9)
    ),
    "input step": setup(
        inputs=(
            InputStep("scale", lambda x: (x.mean(0), x.std() + 1), lambda x, m, s: (x - m) / s),
        )
    ),
    "shuffled once": setup(shuffle="once"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_stacked_member_equals_the_same_seed_alone(name: str) -> None:
    plan, seeds = Plan(VARIANTS[name]), [3, 7, 11]
    alone = plain.train(plan, seeds)
    together = stacked.train(plan, seeds)
    for a, b in zip(alone, together, strict=True):
        assert a.seed == b.seed
        assert not a.failed
        assert a.epochs == b.epochs
        assert a.parameters == b.parameters
        assert b.curve == pytest.approx(a.curve, rel=1e-9)
        assert b.scores == pytest.approx(a.scores, rel=1e-8, abs=1e-10)
    assert len({outcome.scores["loss"] for outcome in alone}) == 3, "seeds differ"


def test_the_weights_are_equal_too() -> None:
    # not Adam: it makes steps of the rounding in gradients that are zero (a bias before a norm)
    plan = Plan(
        replace(VARIANTS["batch norm and channel dropout"], optimizer=OPTIMIZERS["momentum"])
    )
    members = plan.members([1, 2])
    stack = stacked.build(plan, members)
    stacked.fit(plan, stack)
    for i, member in enumerate(members):
        state = plain.fit(plan, member).model.state_dict()
        for name, value in {**stack.parameters, **stack.buffers}.items():
            torch.testing.assert_close(value[i].detach(), state[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_member_equals_an_ordinary_loop(name: str) -> None:
    plan = Plan(VARIANTS[name])
    member = Member(5)
    part, (x, y) = plan.part(5), plan.data.batch(torch.arange(len(plan.data)))
    with draws.seeded(member.stream("init")):
        model = mlp(plan.form).double()
    optimizer = OPTIMIZERS[name](model.parameters())
    for epoch in range(2):
        random = draws.generator(draws.stream(member.stream("order"), "epoch", epoch))
        for rows in part.train[torch.randperm(len(part.train), generator=random)].split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows].double()), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        loss = F.cross_entropy(model(x[part.held].double()), y[part.held])
    (ours,) = stacked.train(plan, [5])
    assert ours.scores["loss"] == pytest.approx(float(loss), rel=1e-9)


def test_processes_return_the_same() -> None:
    plan, seeds = Plan(VARIANTS["dropout"]), [1, 2, 3]
    alone = [o.scores for o in plain.train(plan, seeds)]
    assert [o.scores for o in processes.train(plan, seeds, workers=2)] == alone
    stacks = processes.train(plan, seeds, stacked.train, workers=2)
    assert [o.seed for o in stacks] == seeds
    for ours, theirs in zip(stacks, alone, strict=True):
        assert ours.scores == pytest.approx(theirs, rel=1e-8)


def test_a_worker_that_raises_raises_here() -> None:
    def broken(form: Form) -> nn.Module:
        return nn.Linear(form.features + 1, form.classes)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        processes.train(Plan(setup(model=broken)), [1, 2], workers=2)


def test_a_member_that_diverges_leaves_the_others_alone() -> None:
    def model(form: Form) -> nn.Module:
        net = mlp(form)
        if torch.rand(()) < 0.5:
            with torch.no_grad():
                net[1].weight.mul_(float("inf"))
        return net

    plan = Plan(setup(model=model))
    seeds = list(range(8))
    together, alone = stacked.train(plan, seeds), plain.train(plan, seeds)
    assert {o.failed for o in together} == {"", "nan"}
    for a, b in zip(alone, together, strict=True):
        assert a.failed == b.failed
        assert b.scores == pytest.approx(a.scores, rel=1e-8, abs=1e-10)


def test_what_cannot_be_stacked_says_why() -> None:
    class Recurrent(nn.Module):
        def __init__(self, form: Form) -> None:
            super().__init__()
            self.rnn = nn.LSTM(8, 12, batch_first=True)
            self.head = nn.Linear(12, form.classes)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x.reshape(len(x), 8, 8))[0][:, -1])

    plan = Plan(setup(model=Recurrent))
    assert stacked.reason_against(plan)
    found = choose.choose(plan, 4)
    assert "stacked" in found.reasons
    assert found.how in ("plain", "processes")
    assert not choose.train(plan, [1], found.how)[0].failed

    lbfgs = Plan(setup(optimizer=torch.optim.Adafactor))
    assert "element by element" in stacked.reason_against(lbfgs)


def test_the_choice_is_measured_and_can_be_used() -> None:
    plan = Plan(setup())
    found = choose.choose(plan, 8)
    assert found.steps[found.how] == min(found.steps.values())
    assert found.seconds > 0
    outcomes = choose.train(plan, range(8), found.how)
    assert [o.seed for o in outcomes] == list(range(8))
    assert all(o.scores["accuracy"] > 0.3 for o in outcomes)


def test_every_engine_that_is_timed_can_be_used() -> None:
    plan = Plan(setup())
    found = choose.choose(plan, 8)
    if processes.cores() > 1:
        assert set(found.steps) >= {"plain", "processes", "stacked"}
    for how in found.steps:
        assert len(choose.train(plan, [1, 2], how)) == 2
    alone = choose.choose(plan, 1)
    assert "stacks" not in alone.steps, "one member is no stack for each core"
    assert "processes" not in alone.steps, "a worker for it takes longer to start than it gains"


def test_workers_hand_back_whatever_their_work_makes() -> None:
    found = processes.each(Plan(setup()), [[1], [2, 3], [4]], lambda _, seeds: sum(seeds), 2)
    assert sorted(found) == [1, 4, 5]


HALF = setup(precision="bfloat16", model=cnn, optimizer=OPTIMIZERS["momentum"], epochs=3)


def test_autocast_keeps_the_weights_and_learns_the_same() -> None:
    plan, seeds = Plan(HALF), [1, 2, 3]
    alone, together = plain.train(plan, seeds), stacked.train(plan, seeds)
    full = plain.train(Plan(replace(HALF, precision="float32")), seeds)
    for a, b, c in zip(alone, together, full, strict=True):
        assert all(math.isfinite(value) for value in (*a.curve, *b.curve))
        assert a.curve[-1] < 0.8 * a.curve[0], "it learns"
        assert b.curve == pytest.approx(a.curve, rel=0.03), "rounding to 8 bits"
        assert a.curve == pytest.approx(c.curve, rel=0.03)
        assert a.curve != c.curve, "it computes in bfloat16"
        assert b.scores["loss"] == pytest.approx(a.scores["loss"], rel=0.1)


def test_autocast_computes_in_bfloat16_over_float32_weights() -> None:
    plan = Plan(HALF)
    stack = stacked.build(plan, plan.members([1, 2]))
    run, alone = stacked.Running(plan, stack), plain.Running(plan, Member(1))
    seen: list[torch.dtype] = []
    for net in (stack.skeleton, alone.model):
        net[1].register_forward_hook(lambda _module, _given, found: seen.append(found.dtype))
    with stacked.mapped():
        run.step(torch.stack([plan.batches(member, 0)[0] for member in stack.members]))
    alone.step(plan.batches(Member(1), 0)[0])
    assert seen == [torch.bfloat16, torch.bfloat16]
    weights = [*stack.parameters.values(), *alone.parameters.values()]
    assert {p.dtype for p in weights} == {torch.float32}
    assert {p.grad.dtype for p in weights if p.grad is not None} == {torch.float32}
    outputs, _ = stacked.outputs_of(plan, stack)
    assert outputs.dtype == torch.float32


@pytest.mark.parametrize(
    "kind", [*sorted(set(CONVOLUTIONS) - {"1d"}), "prelu", "instance", "group", "layer"]
)
def test_mapped_functions_heed_autocast(kind: str) -> None:
    others = {
        "prelu": partial(nn.PReLU, 4),
        "instance": partial(nn.InstanceNorm2d, 4, affine=True),
        "group": partial(nn.GroupNorm, 2, 4),
        "layer": partial(nn.LayerNorm, 8),
    }
    net = nn.Sequential(nn.Conv2d(4, 4, 1), ({**CONVOLUTIONS, **others})[kind](), nn.BatchNorm2d(4))
    x = torch.randn(2, 5, 4, 8, 8)
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    stack = {name: torch.stack([t.detach()] * 2) for name, t in tensors.items()}
    with torch.autocast("cpu", torch.bfloat16), stacked.mapped():
        found = torch.vmap(lambda own, one: functional_call(net, own, (one,)))(stack, x)
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.stack([net(one) for one in x])
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.1, atol=0.1)
    assert F.conv2d.__module__ != cast.__module__


def test_each_member_stops_by_itself_and_gets_its_best_weights_back() -> None:
    plan, seeds = Plan(VARIANTS["early stopping"]), [3, 7, 11, 12]
    members = plan.members(seeds)
    stack = stacked.build(plan, members)
    with stacked.mapped():
        epochs = stacked.fit(plan, stack)
    assert len(set(epochs)) > 1, "they stop at different epochs"
    assert min(epochs) < plan.setup.epochs
    for i, member in enumerate(members):
        alone = plain.fit(plan, member)
        assert alone.epochs == epochs[i]
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(stack.parameters[name][i].detach(), value)
        best = plain.held_out_loss(plan, alone.model, plan.part(member.seed))
        last = plain.Running(plan, member)
        losses: list[float] = []
        for epoch in range(alone.epochs):
            last.epoch(plan.batches(member, epoch))
            losses.append(plain.held_out_loss(plan, last.model, last.part))
        assert best == pytest.approx(min(losses)), "the best epoch's weights"
        assert losses.index(min(losses)) == alone.epochs - 2, "patience is one epoch"


def test_nothing_random_of_the_caller_moves() -> None:
    before = torch.get_rng_state()
    plan = Plan(VARIANTS["dropout"])
    plain.train(plan, [1])
    stacked.train(plan, [1, 2])
    assert torch.equal(before, torch.get_rng_state())
    assert F.dropout.__module__ == "torch.nn.functional"


def test_another_draw_shares_the_split_and_nothing_else() -> None:
    one, other = Plan(setup()), Plan(setup(draw=1))
    assert torch.equal(one.part(4).held, other.part(4).held)
    a, b = one.members([4])[0], other.members([4])[0]
    assert not torch.equal(one.order(a, 0), other.order(b, 0))
    assert not torch.equal(one.model(a)[1].weight, other.model(b)[1].weight)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keyed_dropout_is_dropout(p: float) -> None:
    x = torch.ones(200, 500)
    with draws.keyed(torch.tensor(12345), 3):
        first, second = F.dropout(x, p), F.dropout(x, p)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    zeros = float((first == 0).double().mean())
    assert zeros == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / x.numel()))
    both = float(((first == 0) & (second == 0)).double().mean())
    assert both == pytest.approx(p * p, abs=0.01), "two calls are independent"
    rows = (first == 0).double()
    lag = float(((rows[:, 1:] - p) * (rows[:, :-1] - p)).mean() / (p * (1 - p)))
    assert abs(lag) < 0.02, "neighbours are independent"


def test_uniform_numbers_are_uniform_over_keys_steps_and_places() -> None:
    keys = torch.arange(50)
    numbers = torch.vmap(lambda key: draws.uniform((400,), key, 7, 1))(keys)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, 20, 0, 1)
    expected = numbers.numel() / 20
    assert float(((counts - expected) ** 2 / expected).sum()) < 45, "chi square, 19 degrees"
    assert abs(float(torch.corrcoef(torch.stack([numbers[0], numbers[1]]))[0, 1])) < 0.2


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    random = torch.Generator().manual_seed(0)
    logits, y = torch.randn(300, 4, generator=random), torch.randint(4, (300,), generator=random)
    found = scores.score(setup(), "classification", logits, y)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, logits.argmax(1)))
    assert found["f1"] == pytest.approx(metrics.f1_score(y, logits.argmax(1), average="macro"))
    assert found["loss"] == pytest.approx(
        metrics.log_loss(y, logits.double().softmax(1).numpy()), rel=1e-6
    )
    yes = torch.randint(2, (300,), generator=random)
    one = torch.randn(300, generator=random).round(decimals=1)
    found = scores.score(setup(), "binary", one, yes)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(yes, one))
    number = torch.randn(300, 2, generator=random)
    guess = number + 0.3 * torch.randn(300, 2, generator=random)
    found = scores.score(setup(), "regression", guess, number)
    assert found["r2"] == pytest.approx(
        1 - float(((guess - number) ** 2).mean() / ((number - number.mean(0)) ** 2).mean())
    )
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(number, guess))


def test_flips_count_predictions_that_a_shift_changes() -> None:
    plan = Plan(setup(data=square(400), model=image_net, epochs=3))
    alone, together = plain.train(plan, [1, 2]), stacked.train(plan, [1, 2])
    for a, b in zip(alone, together, strict=True):
        assert 0 < a.scores["flips"] < 1
        assert b.scores["flips"] == pytest.approx(a.scores["flips"])
    moved = plan.shifted(Member(1))
    assert moved is not None
    assert torch.equal(moved[1][..., 1:, :], moved[0][..., :-1, :]), "one row down"
    assert "flips" not in plain.train(Plan(setup()), [1])[0].scores, "no image, no shift"


def image_net(form: Form) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, form.classes)
    )


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_are_the_same_in_every_layout(kind: str) -> None:
    plan = Plan(
        setup(data=square(), model=partial(convolved, kind=kind), optimizer=OPTIMIZERS["momentum"])
    )
    alone, together = plain.train(plan, [1, 2]), stacked.train(plan, [1, 2])
    for a, b in zip(alone, together, strict=True):
        assert b.scores == pytest.approx(a.scores, rel=1e-8, abs=1e-10)

    conv, x = (
        CONVOLUTIONS[kind](),
        torch.randn(3, 4, 8) if kind == "1d" else torch.randn(3, 4, 8, 8),
    )
    expected = conv(x)
    expected.square().sum().backward()
    grad, conv.weight.grad = conv.weight.grad, None
    with convolutions.channels_last():
        found = conv(x)
    found.square().sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv.weight.grad, grad, rtol=1e-4, atol=1e-4)


def test_maps_have_their_channels_last_unless_the_network_views_them() -> None:
    given = setup(data=square(), precision="float32", optimizer=OPTIMIZERS["momentum"])
    plan = Plan(replace(given, model=partial(convolved, kind="zeros")))
    seen: list[bool] = []
    run = plain.Running(plan, Member(1))
    run.model.norm.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    run.step(plan.batches(Member(1), 0)[0])
    assert seen == [True]
    assert all(p.is_contiguous() for p in run.model.parameters()), "weights keep their layout"

    views = replace(given, model=partial(convolved, kind="zeros", flat=True))
    ours, theirs = plain.train(Plan(views), [1])[0], plain.train(plan, [1])[0]
    assert ours.scores == pytest.approx(theirs.scores, rel=1e-3)
    assert not Plan(views).channels_last
    assert F.conv2d.__module__ != convolutions.__name__


def test_the_step_is_fused_only_where_the_user_left_it_to_torch() -> None:
    def fused(**chosen: Any) -> Any:
        run = plain.Running(Plan(setup(optimizer=partial(torch.optim.Adam, **chosen))), Member(1))
        return run.optimizer.param_groups[0]["fused"]

    assert fused()
    assert not fused(foreach=True)
    assert fused(fused=False) is False
    assert not fused(capturable=True)


def test_images_are_converted_once_for_all_plans_of_the_data() -> None:
    pixels = (square().x * 15).to(torch.uint8)
    images = replace(square(), x=pixels)
    one, other = Plan(setup(data=images)), Plan(setup(data=images, rate=2.0))
    rows = torch.tensor([[5, 3], [3, 0]])
    x, y = one.fetch(rows)
    assert torch.equal(x, (pixels[rows].float() / 255).double())
    assert torch.equal(y, images.y[rows])
    assert one.whole is not None
    assert other.whole is not None
    assert one.whole[0] is other.whole[0]
    assert Plan(setup(data=images, precision="float32")).fetch(rows)[0].dtype == torch.float32


def test_data_too_large_to_keep_are_converted_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Plan(setup(data=square()))
    monkeypatch.setattr("nomagic.engine.plan.KEPT", 0)
    plan = Plan(setup(data=square()))
    rows = torch.tensor([4, 2, 2])
    assert plan.whole is None
    for ours, theirs in zip(plan.fetch(rows), kept.fetch(rows), strict=True):
        assert torch.equal(ours, theirs)


def test_bad_setups_are_told_apart() -> None:
    with pytest.raises(SetupError, match=r"held_out is 1\.5"):
        Plan(setup(held_out=1.5))
    with pytest.raises(SetupError, match="epochs is 0"):
        Plan(setup(epochs=0))
    with pytest.raises(SetupError, match="returned function; it must return a fresh"):
        plain.train(Plan(setup(model=lambda _: F.relu)), [1])
    with pytest.raises(scores.MetricError, match="'acuracy' is not known"):
        plain.train(Plan(setup(metric="acuracy")), [1])
    with pytest.raises(SetupError, match="no groups"):
        Plan(setup(split="group")).part(0)


def test_splits_hold_what_they_promise() -> None:
    digits = flat()
    fresh = Plan(setup(split="fresh"))
    assert not torch.equal(fresh.part(1).held, fresh.part(2).held)
    fixed = Plan(setup(split="fixed"))
    assert torch.equal(fixed.part(1).held, fixed.part(2).held)
    late = Plan(setup(split="time")).part(1)
    assert int(late.train.max()) < int(late.held.min())
    groups = torch.arange(len(digits)) // 25
    part = Plan(setup(split="group", groups=groups)).part(1)
    assert not set(groups[part.train].tolist()) & set(groups[part.held].tolist())
