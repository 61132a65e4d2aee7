"""What unsupervised pre-training brings, by the number of labels, at equal compute.

On each seed the trunk learns from all training inputs, then everything is trained on some of the
labels. Two controls start from scratch on the same split, with the same labels and initial head:
one takes as many steps on labels, one is longer by what the pre-training cost. Every kind is held
against the better of the two. All kinds cost the same: `Proposal.passes` of one sample, forward and
backward, counted by operations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nomagic.datasets.splits import known_targets
from nomagic.described import describe
from nomagic.engine import choose, scores
from nomagic.engine.draws import generator, seeded, stream
from nomagic.engine.plan import Member, Part, Plan
from nomagic.fitting import pretrain, tuning
from nomagic.parts import trunk
from nomagic.parts.presets import kinds as forms
from nomagic.parts.pretext import KINDS, Kind
from nomagic.parts.trunk import Start
from nomagic.trial.statistics import Judgement, Pairs, first_look, judge
from nomagic.words import Edit, Picture, Series, Stage

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
APART = 1.5
"""How much larger each number of labels is at least than the one before."""
EACH, LEAST = 3, 10
"""Labels of each class at least, and of a regression."""
SEEDS = (12, 10, 8, 7, 6)
VIEWS = 2.0
"""Passes that pre-training may cost for each pass over the inputs: two views have two."""
FEW = 2_000
"""Labels from which pre-training is no longer worth a comparison, unless there is a pool."""
TIMED = 4
"""Steps of pre-training that are timed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is compared: the same proposal gives the same result.

    ``labels`` are numbers of labelled samples, the last one all of them; ``lengths`` the epochs of
    pre-training of each kind, ``passes`` what each costs. ``how`` is the engine. ``seconds`` is
    what all is expected to take, ``reasons`` say why a kind, or everything, is left out.
    """

    seeds: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    kinds: tuple[Kind, ...] = ()
    lengths: tuple[int, ...] = ()
    passes: float = 0.0
    how: choose.How = "plain"
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same as numbers, text, lists and a table, to be written to a file."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @staticmethod
    def of(given: Mapping[str, Any]) -> Proposal:
        """The proposal that `plain` wrote.

        Raises:
            ValueError: it is none.
        """
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
        try:
            proposal = Proposal(**fields)
        except TypeError as error:
            raise ValueError(f"this is no proposal of a comparison: {error}") from error
        strange = set(proposal.kinds) - set(KINDS)
        if strange or len(proposal.kinds) != len(proposal.lengths):
            raise ValueError(
                f"a proposal has kinds {list(proposal.kinds)} with lengths "
                f"{list(proposal.lengths)}; expected some of {', '.join(KINDS)} and a length each"
            )
        return proposal


# -- a part of the labels -----------------------------------------------------------------------


class Labelled(Plan):
    """A plan in which only some of the training samples have labels.

    The first samples are the same however many there are: some of each class first, then at random.

    Args:
        plan: the setup and its data.
        count: samples with labels.
        epochs: how often they are seen.
        starts: by seed, the trunk that its networks start from.
    """

    def __init__(
        self,
        plan: Plan,
        count: int,
        epochs: int,
        starts: Mapping[int, Mapping[str, Tensor]] | None = None,
    ) -> None:
        super().__init__(replace(plan.setup, epochs=epochs, members=1), plan.data)
        self.count, self.starts = count, starts or {}
        self._few: dict[int, Part] = {}

    def part(self, seed: int) -> Part:
        """The split of a seed; input steps are fitted on all training inputs."""
        if seed not in self._few:
            whole = super().part(seed)
            rows = whole.train[ranked(self, whole.train, seed)[: self.count]]
            self._few[seed] = Part(rows, whole.held, whole.fitted)
        return self._few[seed]

    def model(self, member: Member) -> nn.Module:
        """The member's network; the trunk as it starts, the head fresh."""
        model = super().model(member)
        if member.seed in self.starts:
            found = trunk.find(model, self.sample(member.seed))
            trunk.load(found, self.starts[member.seed])
        return model


def ranked(plan: Plan, rows: Tensor, seed: int) -> Tensor:
    """The order in which samples are labelled: places in ``rows``."""
    order = torch.randperm(len(rows), generator=generator(stream(seed, "labels")))
    y = plan.data.y if plan.data.y is not None else known_targets(plan.data.x)
    if y is None or plan.form.task not in ("classification", "binary"):
        return order
    classes = y[rows][order].flatten().long()
    turn = torch.zeros_like(classes)
    for one in classes.unique():
        places = (classes == one).nonzero().flatten()
        turn[places] = torch.arange(len(places))
    return order[turn.clamp(max=EACH).argsort(stable=True)]


def counts(plan: Plan, shares: Sequence[float] = SHARES) -> tuple[int, ...]:
    """Numbers of labels by share of the training part; a few of each class at least."""
    whole = len(plan.part(0).train)
    classes = {"classification": plan.form.outputs, "binary": 2}.get(plan.form.task, 0)
    least = min(whole, max(LEAST, EACH * classes))
    found: list[int] = [whole]
    for share in sorted(shares, reverse=True):
        count = max(least, round(share * whole))
        if count * APART <= found[0]:
            found.insert(0, count)
    return tuple(found)


def length(plan: Plan, count: int, passes: float = 0.0) -> int:
    """Epochs on so many labels: as many steps as all labels would get, and further passes."""
    whole = len(plan.part(0).train)
    size = plan.setup.batch_size
    steps = plan.setup.epochs * math.ceil(whole / size)
    return round(steps / math.ceil(count / size) + passes / count)


# -- what the time allows ------------------------------------------------------------------------


def propose(
    plan: Plan, seconds: float, kinds: Sequence[Kind] = (), pool: Tensor | None = None
) -> Proposal:
    """What can be compared in so many seconds, by a measurement of a few steps.

    Args:
        plan: the setup and its data.
        seconds: the budget.
        kinds: what may be compared, in order of preference; by default what suits the inputs.
        pool: further inputs without labels (n, *shape).
    """
    plan = Plan(replace(plan.setup, members=1), plan.data)
    asked: Sequence[Kind] = kinds or preferred(plan)
    reasons: dict[Kind, str] = {kind: pretrain.reason_against(plan, kind) for kind in asked}
    told = tuple(f"{kind}: {reason}" for kind, reason in reasons.items() if reason)
    wanted: list[Kind] = [kind for kind in asked if not reasons[kind]]
    if not wanted:
        return Proposal(reasons=tuple(dict.fromkeys(reasons.values())))
    clock = _Clock(plan, wanted, pool)
    every = [
        one for one in _candidates(wanted, counts(plan)) if first_look(one.tricks, (one.seeds,))
    ]
    fitting = [one for one in every if clock.seconds(one) <= seconds]
    if not fitting:
        least = min(clock.seconds(one) for one in every)
        short = f"even the smallest comparison takes about {least:.0f} s; there are {seconds:.0f} s"
        return Proposal(reasons=(*told, short))
    size = max(fitting, key=_Size.worth)
    found = planned(
        plan, size.kinds, size.labels, range(size.seeds), size.factor, clock.choice.how, pool
    )
    return replace(found, seconds=round(clock.seconds(size), 1), reasons=told)


def offered(plan: Plan, pool: Tensor | None = None) -> bool:
    """Whether a fit should compare at all: labels are few, or there are inputs without."""
    return pool is not None or len(plan.part(0).train) < FEW


def preferred(plan: Plan) -> tuple[Kind, ...]:
    """Kinds by what the inputs are, the most promising first."""
    seen = forms.kind(plan.form) in ("image", "waveform")
    return ("contrastive", "denoising", "masked", "layer-wise") if seen else KINDS


@dataclass(frozen=True, slots=True)
class _Size:
    """How much is compared."""

    kinds: tuple[Kind, ...]
    labels: tuple[int, ...]
    seeds: int
    factor: float

    @property
    def tricks(self) -> int:
        return len(self.kinds) * len(self.labels)

    def worth(self) -> tuple[float, ...]:
        """What is wanted first: three numbers of labels, whole pre-training, eight seeds."""
        enough = (min(len(self.labels), 3), self.factor, min(self.seeds, 8))
        return (*enough, len(self.kinds), len(self.labels), self.seeds)


def _candidates(wanted: Sequence[Kind], labels: Sequence[int]) -> Iterator[_Size]:
    last = len(labels) - 1
    for some in range(1, len(wanted) + 1):
        for many in range(min(2, len(labels)), len(labels) + 1):
            places = sorted({round(i * last / max(1, many - 1)) for i in range(many)})
            for seeds in SEEDS:
                for factor in (1.0, 0.5, 0.25):
                    chosen = tuple(labels[place] for place in places)
                    yield _Size(tuple(wanted[:some]), chosen, seeds, factor)


class _Clock:
    """What a step of training and of each pre-training takes."""

    def __init__(self, plan: Plan, kinds: Sequence[Kind], pool: Tensor | None) -> None:
        self.plan = plan
        self.choice = choose.choose(plan)
        self.step = self.choice.steps[self.choice.how]
        member = plan.members([choose.FIRST])[0]
        self.costs: dict[Kind, float] = {}
        self.steps: dict[Kind, float] = {}
        for kind in kinds:
            with seeded(0):
                work = pretrain.Work(plan, member, kind, pool)
                self.costs[kind], self.steps[kind] = work.cost, _timed(work)
                self.inputs = len(work.inputs)

    def seconds(self, size: _Size) -> float:
        """All seeds, all arms."""
        batches = math.ceil(self.inputs / pretrain.batch(self.plan))
        passes = _passes(self.plan, self.inputs, size.factor)
        before = sum(
            self.steps[kind] * _epochs(passes, self.costs[kind], self.inputs) * batches
            for kind in size.kinds
        )
        after = sum(
            self.step
            * math.ceil(count / self.plan.setup.batch_size)
            * (length(self.plan, count) * (len(size.kinds) + 1) + length(self.plan, count, passes))
            for count in size.labels
        )
        return size.seeds * (before + after)


def planned(
    plan: Plan,
    kinds: Sequence[Kind],
    labels: Sequence[int],
    seeds: Sequence[int],
    factor: float = 1.0,
    how: choose.How = "plain",
    pool: Tensor | None = None,
) -> Proposal:
    """A proposal by hand: the pre-training of each kind is as long as all may cost.

    Args:
        plan: the setup and its data.
        kinds: what is compared.
        labels: numbers of labels, the last one all of them.
        seeds: of the pairs.
        factor: on the default cost, which is two passes over the inputs in each epoch.
        how: the engine.
        pool: further inputs without labels (n, *shape).
    """
    lengths: list[int] = []
    passes = 0.0
    for kind in kinds:
        with seeded(0):
            work = pretrain.Work(plan, plan.members([0])[0], kind, pool)
        passes = _passes(plan, len(work.inputs), factor)
        lengths.append(_epochs(passes, work.cost, len(work.inputs)))
    return Proposal(tuple(seeds), tuple(labels), tuple(kinds), tuple(lengths), passes, how)


def _passes(plan: Plan, inputs: int, factor: float) -> float:
    """What a pre-training costs, in passes of one sample."""
    return factor * VIEWS * inputs * pretrain.epochs(plan, inputs)


def _epochs(passes: float, cost: float, inputs: int) -> int:
    """Its epochs, where a pass of one sample costs so much."""
    return max(1, round(passes / cost / inputs))


def _timed(work: pretrain.Work) -> float:
    """Seconds of a step, the fastest of a few."""
    x = work.inputs[torch.arange(min(pretrain.batch(work.plan), len(work.inputs)))]
    spent: list[float] = []
    for _ in range(TIMED):
        began = time.perf_counter()
        for phase in work.phases:
            phase(x).backward()
        spent.append((time.perf_counter() - began) / len(work.phases))
    return 1.2 * min(spent)


# -- the comparison ------------------------------------------------------------------------------

CONTROLS = ("scratch", "scratch, longer")
Scores = dict[str, dict[int, list[float]]]
"""By arm and number of labels, the deciding metric of each seed, the better the higher."""


def compare(
    plan: Plan,
    proposal: Proposal,
    pool: Tensor | None = None,
    file: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Stage:
    """Compare kinds of pre-training with training from scratch, as a proposal says.

    Args:
        plan: the setup and its data.
        proposal: as `propose` made it.
        pool: further inputs without labels (n, *shape).
        file: where to write the pre-trained trunk of seed 0, if one is taken for all labels; the
            setup then starts from it.
        tell: told what is being done.
    """
    if not proposal.kinds:
        return Stage("transfer", skipped="; ".join(proposal.reasons) or "no kind was proposed")
    began = time.perf_counter()
    found, learnt = _train(plan, proposal, pool, tell or (lambda _: None))
    baseline = {count: _better(found, count) for count in proposal.labels}
    judged = {
        (kind, count): one
        for (kind, count), one in zip(
            _arms(proposal), _judged(proposal, found, baseline), strict=True
        )
    }
    taken = tuning.best({kind: judged[kind, proposal.labels[-1]] for kind in proposal.kinds})
    numbers = {
        "metric": plan.metric,
        "proposal": proposal.plain(),
        "scores": {
            arm: {str(count): list(map(tuning.finite, many)) for count, many in table.items()}
            for arm, table in found.items()
        },
        "baseline": {str(count): arm for count, arm in baseline.items()},
        "judged": [
            {"kind": kind, "labels": count, **tuning.numbers(one)}
            for (kind, count), one in judged.items()
        ],
        "probe": {
            kind: [list(map(tuning.finite, one.probe)) for one in many]
            for kind, many in learnt.items()
        },
        "taken": taken,
    }
    return Stage(
        "transfer",
        says=tuple(_says(plan, proposal, judged, learnt, taken)),
        numbers=numbers,
        pictures=(_picture(plan, proposal, found, baseline, judged),),
        change=kept(plan, learnt[taken][0], file) if taken and file else {},
        seconds=time.perf_counter() - began,
    )


def _arms(proposal: Proposal) -> list[tuple[Kind, int]]:
    return [(kind, count) for kind in proposal.kinds for count in proposal.labels]


def _train(
    plan: Plan, proposal: Proposal, pool: Tensor | None, tell: Callable[[str], None]
) -> tuple[Scores, dict[str, list[pretrain.Pretrained]]]:
    """Pre-train each kind on each seed, and train every arm on every number of labels."""
    plan = Plan(replace(plan.setup, members=1), plan.data)
    learnt: dict[str, list[pretrain.Pretrained]] = {}
    for kind, epochs in zip(proposal.kinds, proposal.lengths, strict=True):
        tell(f"{kind} pre-training on {len(proposal.seeds)} seeds")
        members = plan.members(proposal.seeds)
        learnt[kind] = [pretrain.pretrain(plan, one, kind, epochs, pool) for one in members]
    found: Scores = {}
    for count in proposal.labels:
        tell(f"training with {count} labels")
        short, longer = length(plan, count), length(plan, count, proposal.passes)
        for arm, epochs in (
            *zip(CONTROLS, (short, longer), strict=True),
            *((k, short) for k in learnt),
        ):
            states = [one.state for one in learnt.get(arm, ())]
            starts = {s: state for s, state in zip(proposal.seeds, states, strict=False) if state}
            seeds = tuple(starts) if arm in learnt else proposal.seeds
            some = Labelled(plan, count, epochs, starts)
            outcomes = choose.train(some, seeds, proposal.how) if seeds else []
            known = {one.seed: tuning.score(plan, one) for one in outcomes}
            values = [known.get(seed, math.nan) for seed in proposal.seeds]
            found.setdefault(arm, {})[count] = values
    return found, learnt


def _better(found: Scores, count: int) -> str:
    """The control with the better mean; one that failed on a seed is the worse."""
    return max(CONTROLS, key=lambda arm: _mean(found[arm][count]))


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if all(map(math.isfinite, values)) else -math.inf


def _judged(proposal: Proposal, found: Scores, baseline: Mapping[int, str]) -> Iterator[Judgement]:
    """Each arm against its control, at an error rate that holds for all of them together."""
    pairs = {
        f"{kind} {count}": Pairs(found[baseline[count]][count], found[kind][count])
        for kind, count in _arms(proposal)
    }
    yield from judge(pairs, (len(proposal.seeds),)).values()


def kept(plan: Plan, learnt: pretrain.Pretrained, file: Path) -> dict[str, Any]:
    """Write a trunk to a file; the change of the setup that lets it start from there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in learnt.state.items()}, file)
    edit = Edit(f"pretrain-{learnt.kind}", Start(str(file), trunk.digest(file)))
    return {"edits": describe((*plan.setup.edits, edit))}


# -- in words and pictures ------------------------------------------------------------------------


def _says(
    plan: Plan,
    proposal: Proposal,
    judged: Mapping[tuple[str, int], Judgement],
    learnt: Mapping[str, Sequence[pretrain.Pretrained]],
    taken: str,
) -> Iterator[str]:
    points, whole = plan.metric in scores.PERCENT, proposal.labels[-1]
    for kind in proposal.kinds:
        parts = [
            f"with {_labels(count, whole)} it {tuning.told(judged[kind, count], points)}"
            for count in proposal.labels
        ]
        yield f"{kind} pre-training: {'; '.join(parts)}."
        before, after = (fmean(one.probe[i] for one in learnt[kind]) for i in (0, 1))
        yield f"A linear probe of its features went from {before:.3f} to {after:.3f}."
    yield (
        f"Each is held, on {len(proposal.seeds)} seeds, against the better of two trainings from "
        "scratch: as long on labels, or longer by what the pre-training costs."
    )
    yield (
        f"At your {whole:,} labels {taken} pre-training is worth it."
        if taken
        else f"At your {whole:,} labels no pre-training is proven to help: none is used."
    )
    yield from (f"Left out, {reason}" for reason in proposal.reasons)


def _labels(count: int, whole: int) -> str:
    if count == whole:
        return f"all {count:,} labels"
    return f"{count:,} labels ({100 * count / whole:.2g} %)"


def _picture(
    plan: Plan,
    proposal: Proposal,
    found: Scores,
    baseline: Mapping[int, str],
    judged: Mapping[tuple[str, int], Judgement],
) -> Picture:
    points = plan.metric in scores.PERCENT
    scale = (100 if points else 1) * (1 if plan.higher else -1)
    x = tuple(float(count) for count in proposal.labels)
    level = {count: _mean(found[baseline[count]][count]) for count in proposal.labels}
    lines = [Series("from scratch", x, tuple(scale * level[count] for count in proposal.labels))]
    for kind in proposal.kinds:
        every = [(level[count], judged[kind, count]) for count in proposal.labels]
        ends = [
            [
                scale * (base + (end if math.isfinite(end) else one.effect))
                for end in (one.low, one.high)
            ]
            for base, one in every
        ]
        lines.append(
            Series(
                kind,
                x,
                tuple(scale * (base + one.effect) for base, one in every),
                tuple(min(pair) for pair in ends),
                tuple(max(pair) for pair in ends),
            )
        )
    return Picture(
        "What pre-training brings, by labels",
        "The intervals are those of the paired difference from training from scratch, which is the "
        "better of a short and an equally costly training.",
        "labelled samples",
        f"held-out {plan.metric}" + (" (%)" if points else ""),
        tuple(lines),
        log="x",
    )
