"""A trained model that predicts from raw inputs: input steps, networks, mean and calibration."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nomagic.checking import versions
from nomagic.datasets import arrays
from nomagic.datasets.samples import Data, DataError
from nomagic.datasets.tables import Coding
from nomagic.engine.plan import DTYPES, Plan
from nomagic.fitting.forest import Forest
from nomagic.fitting.quality import Noise, bounds, uncertainty
from nomagic.trial.fingerprint import fingerprint
from nomagic.words import Form, InputStep, Recipe, Setup, Task

CHUNK = 1_024
"""Samples that are predicted at once."""
SEEN = 10_000
"""Training inputs of which the range is remembered."""
LARGER, SMALLER = 2.0, 0.01
"""Inputs that reach further than so many times the training range, or less far, are remarked on."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Targets were trained as (target - centre) / deviation, one of each for all or for each."""

    centre: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """How far the training inputs reach: the largest absolute number, of all and of the smallest
    sample.
    """

    most: float
    least: float

    @classmethod
    def of(cls, x: Tensor) -> Span:
        """Of inputs (n, *shape)."""
        peaks = x.reshape(len(x), -1).abs().amax(1)
        return cls(float(peaks.max()), float(peaks.min()))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a trained model.

    ``scores`` are metrics on the ``tested`` samples of the test part, which no stage has seen,
    ``intervals`` 95 % intervals of some of them; ``trained`` counts the samples that it learnt
    from. ``data`` names them and ``fingerprint`` their content. ``says`` are sentences on what
    was found on the way, ``others`` any plain values.
    """

    metric: str = ""
    scores: dict[str, float] = field(default_factory=dict[str, float])
    intervals: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    tested: int = 0
    trained: int = 0
    data: str = ""
    fingerprint: str = ""
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict[str, str])
    says: tuple[str, ...] = ()
    others: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of n inputs; unpacks as ``mean, spread = prediction``.

    ``mean`` are the calibrated mean probabilities (n, classes), the chance of yes (n,), of each
    label (n, labels), the numbers (n,) or (n, targets), or the next token's probabilities
    (n, length, tokens); ``spread`` is the standard deviation over the members of what each says, of
    the same shape.

    The others have one entry for each answer: ``labels`` are what is most likely, ``confidence`` is
    the probability of that, ``entropy`` the doubt in nats, ``information`` the part of it on which
    the members disagree; ``accepted`` says where the confidence is above the model's threshold. A
    regression has minus the spread for the confidence and neither entropy nor information (nan);
    ``low`` and ``high`` are the ends of its intervals, where the model knows them.
    """

    mean: Array
    spread: Array
    labels: Array
    confidence: Array
    entropy: Array
    information: Array
    accepted: Array
    low: Array | None = None
    high: Array | None = None
    remarks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Array]:
        yield self.mean
        yield self.spread

    def __len__(self) -> int:
        return len(self.mean)


class Served(nn.Module):
    """All that happens to raw numbers (n, *shape), as one module: what is used is what is exported.

    Args:
        fitted: the model whose parts it shares.
    """

    centre: Tensor
    deviation: Tensor

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        self.steps: tuple[InputStep, ...] = fitted.setup.inputs
        self.networks = nn.ModuleList(fitted.networks)
        self.forest, self.votes = fitted.forest, fitted.votes
        self.task: Task = fitted.form.task
        self.flat = fitted.form.outputs == 1 and self.task in ("binary", "regression")
        self.temperature = fitted.temperature
        self.values = [len(values) for values in fitted.fitted]
        for i, values in enumerate(fitted.fitted):
            for k, value in enumerate(values):
                self.register_buffer(f"input_{i}_{k}", value)
        scaling = fitted.scaling or Scaling((0.0,), (1.0,))
        self.scaled = fitted.scaling is not None
        dtype = DTYPES[fitted.setup.precision]
        self.register_buffer("centre", torch.tensor(scaling.centre, dtype=dtype))
        self.register_buffer("deviation", torch.tensor(scaling.deviation, dtype=dtype))

    def outputs(self, x: Tensor) -> Tensor:
        """What each member returns, its logits or numbers: (members, n, …)."""
        for i, (step, count) in enumerate(zip(self.steps, self.values, strict=True)):
            x = step.use(x, *(getattr(self, f"input_{i}_{k}") for k in range(count)))
        each = [network(x) for network in self.networks]
        if self.forest is not None:
            each += [self.forest(x).to(each[0].dtype)] * self.votes
        found = torch.stack(each).to(self.centre.dtype)
        if self.flat:
            found = found.flatten(1)
        return found * self.deviation + self.centre if self.scaled else found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread, as in `Prediction`."""
        return self.said(self.outputs(x))

    def said(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of the members' outputs."""
        mean, each = pooled(outputs, self.task), probabilities(outputs, self.task)
        if self.task != "regression":
            mean = probabilities(mean / self.temperature, self.task)
        return mean, each.std(0) if len(each) > 1 else torch.zeros_like(each[0])


def pooled(outputs: Tensor, task: Task) -> Tensor:
    """The logits of the mean probability of members (members, n, …), or their mean number."""
    if task == "regression":
        return outputs.mean(0)
    if task in ("binary", "multi-label"):
        yes, no = nn.functional.logsigmoid(outputs), nn.functional.logsigmoid(-outputs)
        return yes.logsumexp(0) - no.logsumexp(0)
    return outputs.log_softmax(-1).logsumexp(0) - math.log(len(outputs))


def probabilities(logits: Tensor, task: Task) -> Tensor:
    """Probabilities from logits; numbers as they are."""
    if task == "regression":
        return logits
    return logits.sigmoid() if task in ("binary", "multi-label") else logits.softmax(-1)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model with all that it takes to use it.

    ``networks`` are the members, beside which a ``forest`` may have several ``votes``; ``fitted``
    are the values of the setup's input steps, which they share; ``coding`` tells how a frame
    becomes numbers. Logits of the mean probability are divided
    by ``temperature``, numbers are scaled back by ``scaling`` and have intervals by ``noise``, in
    the unit of the targets. Answers that are not above ``threshold`` (see `Prediction`) are not
    accepted.
    """

    setup: Setup
    form: Form
    networks: tuple[nn.Module, ...]
    fitted: tuple[tuple[Tensor, ...], ...] = ()
    coding: Coding | None = None
    temperature: float = 1.0
    threshold: float | None = None
    scaling: Scaling | None = None
    noise: Noise | None = None
    span: Span | None = None
    facts: Facts = Facts()
    recipe: Recipe | None = None
    remarks: tuple[str, ...] = ()
    forest: Forest | None = None
    votes: int = 0

    def __post_init__(self) -> None:
        for network in self.networks:
            network.eval()

    @property
    def bare(self) -> Fitted:
        """The networks without the forest."""
        return replace(self, forest=None, votes=0)

    @property
    def alone(self) -> Fitted:
        """The first network, without the others."""
        return replace(self.bare, networks=self.networks[:1])

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """All that has weights."""
        return self.networks if self.forest is None else (*self.networks, self.forest)

    @classmethod
    def of(cls, plan: Plan, seed: int, networks: Sequence[nn.Module], **others: Any) -> Fitted:
        """The model of one seed of a plan; ``others`` are further fields."""
        part, data = plan.part(seed), plan.data
        x = data.batch(part.train[:SEEN])[0]
        setup = replace(plan.setup, data=data.name, groups=None, members=len(networks))
        found = cls(
            setup,
            plan.form,
            tuple(networks),
            part.fitted,
            data.coding,
            span=Span.of(x) if x.is_floating_point() else None,
            facts=Facts(
                metric=plan.metric,
                trained=len(part.train),
                data=data.name,
                fingerprint=fingerprint(data.x, data.y) if data.y is not None else "",
                seed=seed,
                versions=versions(),
            ),
        )
        return replace(found, **others)

    @cached_property
    def served(self) -> Served:
        """The whole computation as one module, in evaluation mode."""
        return Served(self).to(self.setup.device).eval()

    @property
    def parameters(self) -> int:
        """How many weights all members have."""
        return sum(p.numel() for network in self.networks for p in network.parameters())

    @property
    def bytes(self) -> int:
        """The size of all weights and buffers of the members."""
        tensors = [t for one in self.parts for t in (*one.parameters(), *one.buffers())]
        return sum(_size(tensor) for tensor in tensors)

    def to(self, device: str) -> Fitted:
        """The same on another device."""
        networks = tuple(copy.deepcopy(one).to(device) for one in self.networks)
        values = tuple(tuple(one.to(device) for one in values) for values in self.fitted)
        setup = replace(self.setup, device=device)
        forest = copy.deepcopy(self.forest).to(device) if self.forest else None
        return replace(self, setup=setup, networks=networks, fitted=values, forest=forest)

    def predict(self, x: Any) -> Prediction:
        """Say what is most likely for raw inputs, and how sure that is.

        Args:
            x: what training was given: arrays or tensors with one row for each sample, uint8 images
                also with channels last, tokens, a frame with the same columns, or `Data`.

        Raises:
            DataError: it does not fit what the model was trained on.
        """
        given, remarks = self.inputs(x)
        parts = [self._said(part) for part in given.split(CHUNK)]
        found = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
        bar = -math.inf if self.threshold is None else self.threshold
        accepted = found["confidence"] > bar
        labels = self._labels(found["mean"])
        return Prediction(**found, labels=labels, accepted=accepted, remarks=remarks)

    def members(self, x: Any) -> Tensor:
        """What each member returns for raw inputs, its logits or numbers: (members, n, …), on the
        CPU.
        """
        given = self.inputs(x)[0]
        return torch.cat([self.run(part) for part in given.split(CHUNK)], 1).cpu()

    def outputs(self, x: Any) -> Tensor:
        """Calibrated logits of raw inputs, or numbers: what `nomagic.engine.scores.score` takes."""
        found = pooled(self.members(x), self.form.task)
        return found if self.form.task == "regression" else found / self.temperature

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        """What each member returns for inputs as `inputs` gives them: (members, n, …)."""
        on = self.setup.precision == "bfloat16"
        device = torch.device(self.setup.device)
        x = x.to(device, DTYPES[self.setup.precision] if x.is_floating_point() else x.dtype)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on):
            return self.served.outputs(x)

    @torch.no_grad()
    def _said(self, x: Tensor) -> dict[str, Tensor]:
        """The numbers of a prediction for some inputs."""
        outputs = self.run(x)
        mean, spread = self.served.said(outputs)
        if self.form.task == "regression":
            nothing = torch.full_like(mean, math.nan)
            found = {"confidence": -spread, "entropy": nothing, "information": nothing}
            return {"mean": mean, "spread": spread, **found, **self._interval(outputs)}
        sure = uncertainty(outputs, self.form.task, self.temperature)
        found = {name: getattr(sure, name) for name in ("confidence", "entropy", "information")}
        return {"mean": mean, "spread": spread, **found}

    def _interval(self, outputs: Tensor) -> dict[str, Tensor]:
        if self.noise is None:
            return {}
        _, low, high = bounds(outputs, self.noise)
        return {"low": low.reshape(outputs[0].shape), "high": high.reshape(outputs[0].shape)}

    def _labels(self, mean: Array) -> Array:
        names, task = self.form.labels, self.form.task
        if task == "regression":
            return mean
        if task == "multi-label":
            return mean > 0.5
        codes = (mean > 0.5).astype(np.int64) if task == "binary" else mean.argmax(-1)
        return np.array(names)[codes] if len(names) > codes.max() else codes

    # -- raw inputs -------------------------------------------------------------------------------

    def inputs(self, x: Any) -> tuple[Tensor, tuple[str, ...]]:
        """Raw inputs as the first input step takes them (n, *shape), and remarks on them.

        Raises:
            DataError: they do not fit what the model was trained on.
        """
        remarks: tuple[str, ...] = ()
        if isinstance(x, Data):
            x = x.batch(torch.arange(len(x)))[0]
        elif hasattr(x, "columns") or isinstance(x, dict):
            x, remarks = self._coded(x)
        if hasattr(x, "__len__") and not len(x):
            raise DataError("x has no rows; expected at least one sample")
        found = shaped(arrays.tensor(x, "x"), self.form)
        return found, (*remarks, *self._range(found))

    def _coded(self, frame: Any) -> tuple[Any, tuple[str, ...]]:
        if self.coding is not None:
            return self.coding.code(frame)
        if isinstance(frame, dict):
            raise DataError(
                f"x is a dict with {', '.join(map(str, list(frame)[:6]))}, and the model was "
                f"trained on arrays; expected numbers of shape {self.form.shape} for each sample"
            )
        return np.asarray(frame), ()

    def _range(self, x: Tensor) -> Iterator[str]:
        if self.span is None or not x.is_floating_point():
            return
        most, expected = float(x.abs().max()), self.span.most
        if most > LARGER * expected or most < SMALLER * expected:
            yield (
                f"the inputs reach {most:.4g}, those of training {expected:.4g}: are they in the "
                "same unit (images as uint8, or divided by 255 as in training)?"
            )


def _size(tensor: Tensor) -> int:
    """The bytes of a tensor; of one that is made of others, theirs."""
    if hasattr(tensor, "__tensor_flatten__"):
        names: list[str] = tensor.__tensor_flatten__()[0]  # pyright: ignore[reportAttributeAccessIssue]
        return sum(_size(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def shaped(x: Tensor, form: Form) -> Tensor:
    """Numbers (n, …) as a model of this form takes them: channels first, images in [0, 1].

    Raises:
        DataError: they do not fit the form.
    """
    image = x.dtype == torch.uint8 and x.ndim > 2
    x = _arranged(x, form.shape)
    if form.tokens:
        return _tokens(x, form)
    return x.float() / 255 if image else x.float()


def _arranged(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    given = tuple(x.shape)
    if given[1:] == shape:
        return x
    if shape[:1] == (1,) and given[1:] == shape[1:]:
        return x.unsqueeze(1)
    if len(shape) == 3 and given[1:] == (*shape[1:], shape[0]):
        return x.permute(0, 3, 1, 2).contiguous()
    expected = ", ".join(map(str, ("n", *shape)))
    hint = ": for a single sample give x[None]" if given in (shape, shape[1:]) else ""
    raise DataError(f"x has shape {given}; expected ({expected}){hint}")


def _tokens(x: Tensor, form: Form) -> Tensor:
    if x.is_floating_point():
        raise DataError(f"x holds {x.dtype}; expected tokens, whole numbers below {form.tokens}")
    x = x.long()
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= form.tokens:
        strange = low if low < 0 else high
        raise DataError(f"x holds the token {strange}; expected 0 to {form.tokens - 1}")
    return x
