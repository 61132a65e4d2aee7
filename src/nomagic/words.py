"""The words of the product: frozen values that every other module speaks.

Nothing of ours is imported here, and no torch, so that the command line can
list and explain practices at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Severity = Literal["fault", "warning", "note"]
"""How sure we are: ``fault`` is proven, ``warning`` is likely, ``note`` is information."""

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")

Status = Literal["findings", "clean", "not-applicable", "could-not-look"]
"""What became of one practice in one run; "no finding" must not read as "no fault"."""


class Shown:
    """A value that notebooks show as a page. How is for `nomagic` to say: words import nothing."""

    __slots__ = ()
    display: ClassVar[Callable[[Any], dict[str, str]] | None] = None
    """From a value to its texts by kind, such as "text/html"."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return Shown.display(self) if Shown.display else {"text/plain": repr(self)}

    def _repr_html_(self) -> str | None:
        return self._repr_mimebundle_().get("text/html")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's own code."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding(Shown):
    """A practice broken in a run.

    ``message`` says what is wrong, ``seen`` the evidence with its numbers,
    ``fix`` what to do, ``place`` the user's line that would change.
    ``practice`` is filled in by `nomagic.check`.
    """

    message: str
    seen: str
    fix: str
    severity: Severity = "warning"
    place: Place | None = None
    practice: str = ""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The question does not arise in this run, and why ("no batch norm in the network")."""

    reason: str


@dataclass(frozen=True, slots=True)
class CouldNotLook:
    """The question arises but could not be answered, and why ("the model could not be copied")."""

    reason: str


Outcome = Finding | NotApplicable | CouldNotLook
Check = Callable[..., Iterator[Outcome]]
Show = Callable[..., Iterator["Picture"]]


Apply = Callable[["Setup", Any], Iterator["Arm | Proof | NotApplicable"]]
"""A trick: from a setup and its `nomagic.glimpse.Glimpse` to the arms that are worth a trial."""


@dataclass(frozen=True, slots=True)
class Practice:
    """One piece of advice: claim, sources, and the facets that it has.

    ``needs`` are the probe classes that ``check`` names in its signature, in order, ``shows`` those
    of ``show``, which draws the evidence where that of the probes is not enough. ``apply`` is
    the trick that `nomagic.try_` puts to the trial; ``promise`` the published effect that the
    measured one is held against.
    """

    name: str
    category: str
    claim: str
    text: str
    sources: tuple[str, ...]
    check: Check | None = None
    needs: tuple[type[Any], ...] = ()
    apply: Apply | None = None
    promise: Promise | None = None
    show: Show | None = None
    shows: tuple[type[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What became of one practice in one run, with the reason where nothing was looked at.

    ``pictures`` are the evidence that it was judged by, where that can be drawn.
    """

    practice: str
    status: Status
    reason: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What watching took, in seconds.

    ``start`` is paid once (imports, the first steps, the copy of the model), ``watching`` during
    the run, ``experiments`` after it. ``run`` is the wall time of it all except the experiments.
    """

    run: float = 0.0
    start: float = 0.0
    watching: float = 0.0
    experiments: float = 0.0

    @property
    def own(self) -> float:
        """The script's own time."""
        return max(0.0, self.run - self.start - self.watching)

    @property
    def share(self) -> float:
        """Watching as a share of the script's own time, start-up excluded."""
        return self.watching / self.own if self.own else 0.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the script ended: ``finished``, ``stopped`` (by --steps), ``exit``, ``interrupted`` or
    ``crashed``.
    """

    how: Literal["finished", "stopped", "exit", "interrupted", "crashed"] = "finished"
    code: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Record(Shown):
    """One watched run, judged: what `nomagic check` returns and every report prints.

    ``charts`` show the run itself, whatever was found: curves, what flows through the layers, and
    where the time goes.
    """

    command: tuple[str, ...]
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    steps: int
    backwards: int
    cost: Cost
    ending: Ending = Ending()
    versions: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    charts: tuple[Picture, ...] = ()

    def worst(self) -> Severity | None:
        """The gravest severity among the findings, or None."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)


# -- try: setups, tricks and verdicts ---------------------------------------------------------

Task = Literal["classification", "binary", "multi-label", "regression", "sequence"]
"""What is predicted: one of several classes, yes or no, several of these, numbers, the next
token.
"""


@dataclass(frozen=True, slots=True)
class Form:
    """What a model must fit: the shape of one input, and what is to come out.

    ``shape`` is that of one input without the batch; ``outputs`` the numbers that the model returns
    for it (for each token, in a sequence): logits of the classes, one logit for yes or no, one
    for each label, or the targets of a regression. ``labels`` are the classes' names, where
    known. ``tokens`` is the size of the vocabulary where the input is integers, else 0. ``flags``
    are the columns of a table that hold no more than two different numbers.
    """

    task: Task
    shape: tuple[int, ...]
    outputs: int
    labels: tuple[str, ...] = ()
    tokens: int = 0
    flags: tuple[int, ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes; of outputs in other tasks."""
        return self.outputs

    @property
    def channels(self) -> int:
        """The first dimension of an image or a waveform; of a flat input, its features."""
        return self.shape[0] if self.shape else 1

    @property
    def features(self) -> int:
        """How many numbers one input has."""
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Setup:
    """Model, data, loss, optimizer, metric and length of a training: a frozen value.

    ``data`` is a built-in name, ``(x, y)`` arrays or tensors, a torch ``Dataset``, a pandas frame
    with the name of its target column, or what `nomagic.data` returned. ``model`` makes a fresh
    ``nn.Module`` from a `Form`. ``loss`` is the mean over the batch of (output, target), by default
    the one of the task; ``optimizer`` makes one from parameters (default: AdamW at 1e-3);
    ``schedule`` makes a scheduler from the optimizer and the number of all steps and is stepped
    after each batch. ``metric`` is a name ("accuracy", "loss", "error", "r2", "f1", "auc") or a
    function of (outputs, targets) that is the better the higher.

    ``clip`` is the largest gradient norm, ``patience`` the epochs without a better held-out loss
    after which a run stops; with it, the best epoch counts. ``split``: ``fresh`` draws a new part
    ``held_out`` for each seed, ``fixed`` one for all, ``group`` keeps equal ``groups`` together,
    ``time`` holds the last part out. The fields from ``rate`` on are what tricks change.

    Args hold: lengths in epochs or batches, ``held_out`` a share between 0 and 1.
    """

    data: Any
    model: Callable[[Form], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    optimizer: Callable[[Any], Optimizer] | None = None
    metric: str | Callable[[Tensor, Tensor], float] = ""
    epochs: int = 10
    batch_size: int = 64
    schedule: Callable[[Optimizer, int], LRScheduler] | None = None
    clip: float | None = None
    patience: int | None = None
    split: Literal["fresh", "fixed", "group", "time"] = "fresh"
    held_out: float = 0.25
    groups: Any = None
    shuffle: Literal["every-epoch", "once", "never"] = "every-epoch"
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    device: str = "cpu"
    name: str = ""

    rate: float = 1.0
    """The optimizer's learning rates times this."""
    decay: float | None = None
    """Decoupled weight decay in place of the optimizer's own."""
    smoothing: float = 0.0
    """Label smoothing of the targets."""
    members: int = 1
    """Networks whose probabilities are averaged."""
    inputs: tuple[InputStep, ...] = ()
    """What is done to inputs before the model sees them, in order."""
    edits: tuple[Edit, ...] = ()
    """Surgery on the fresh model, in order."""
    draw: int = 0
    """Another number gives initial weights, order and dropout of their own, on the same split."""
    block_rates: BlockRates | None = None
    """Rates of their own for the blocks of the network, as in fine-tuning; None: one for all."""


@dataclass(frozen=True, slots=True)
class BlockRates:
    """Learning rates by block: the head's is the optimizer's own, the trunk's are shares of it.

    The head is the last layer; blocks are those of `nomagic.parts.trunk`. ``trunk`` is the rate of
    the block before the head over the head's, ``factor`` that of each block over the one behind it,
    so that a factor below 1 moves the first blocks least (discriminative rates). ``opening`` is the
    share of the epochs over which blocks are opened one after the other, from the head on (gradual
    unfreezing); a block that is not open yet has rate 0. Source: Howard & Ruder 2018, Universal
    Language Model Fine-tuning for Text Classification, arXiv:1801.06146.

    Raises:
        ValueError: ``trunk`` or ``factor`` is not above 0, or ``opening`` is no share below 1.
    """

    trunk: float = 1.0
    factor: float = 1.0
    opening: float = 0.0

    def __post_init__(self) -> None:
        for name in ("trunk", "factor"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"{name} is {value}; it is a factor on the learning rate above 0. To keep "
                    "blocks as they are, freeze their parameters"
                )
        if not 0 <= self.opening < 1:
            raise ValueError(
                f"opening is {self.opening}; it is a share of the epochs from 0 to below 1"
            )


@dataclass(frozen=True, slots=True)
class InputStep:
    """A change of the inputs, fitted on the training part of each seed.

    ``fit`` takes the training inputs (n, …) and returns tensors of which each broadcasts against
    one input; ``use`` takes inputs (…, *shape) and these tensors.
    """

    name: str
    fit: Callable[[Tensor], tuple[Tensor, ...]]
    use: Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Edit:
    """Surgery on a fresh model: takes it and one batch of its inputs, returns the new one.

    What it draws comes from a stream of its own, so that the layers both arms share start equal.
    """

    name: str
    change: Callable[[nn.Module, Tensor], nn.Module]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to follow a practice: the setup with it, and a name ("prelu-0.1") and description.

    ``rates`` are the factors on the learning rate that are screened for it, ``baseline`` another
    setup than the user's that it must be compared with (None: the user's own). A ``rival`` is what
    the practice advises against, so that the published effect does not speak of it.
    """

    name: str
    setup: Setup
    what: str = ""
    rates: tuple[float, ...] = (0.5, 1.0, 2.0)
    baseline: Setup | None = None
    rival: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """Two setups that were proven to compute the same, bit for bit, and what the change saves.

    ``before`` and ``after`` are the seconds of a forward and backward, ``how`` says what was
    compared.
    """

    name: str
    setup: Setup
    how: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Promise:
    """A published effect in words, its source, and what it says of the metric.

    ``points`` is the change of the accuracy in points of a hundred, where a number is published.
    """

    text: str
    source: str
    direction: Literal["helps", "no difference", "hurts"]
    points: float | None = None


Decision = Literal[
    "HELPS",
    "HURTS",
    "NOT WORTH IT",
    "NO DIFFERENCE THAT MATTERS",
    "SAME RESULT",
    "OPEN",
    "NOT APPLICABLE",
]


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of runs: the arm less the baseline on the same seed, in the metric's unit.

    Above zero the arm is better, whatever the metric. nan where a run failed, and then ``failed``
    says whose.
    """

    seed: int
    difference: float
    failed: Literal["", "baseline", "arm", "both"] = ""


FASTER = 0.98
"""What takes less than this share of the time is called faster."""


@dataclass(frozen=True, slots=True)
class Verdict(Shown):
    """What a trial says of one arm against its baseline, in the unit of the metric.

    ``effect`` is the mean of ``pairs`` paired differences, positive where the arm is better, with
    a 95 % interval from ``low`` to ``high`` (nan: too few pairs). ``evidence`` is the e-value of
    the sign-flip test, ``better`` the probability that the arm wins a pair. ``failures`` are (the
    baseline's, the arm's). ``cost`` is its training time over the baseline's. ``fresh`` says
    that effect and interval are from the recipe check, on seeds that had no part in choosing.
    ``needed`` estimates the pairs that would settle an OPEN one. ``context`` is what the verdict
    is about: batch size, length, rates. ``claim`` holds it against the published effect:
    confirmed, not here, cannot tell. ``paired`` are the pairs themselves, in order, and ``history``
    is how many there were at each look and what the evidence was then.
    """

    practice: str
    arm: str
    decision: Decision
    effect: float = 0.0
    low: float = float("nan")
    high: float = float("nan")
    evidence: float = 1.0
    better: float = 0.5
    pairs: int = 0
    failures: tuple[int, int] = (0, 0)
    cost: float = 1.0
    fresh: bool = False
    needed: int = 0
    reason: str = ""
    others: dict[str, float] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    claim: str = ""
    mechanism: str = ""
    twin: str = ""
    paired: tuple[Pair, ...] = ()
    history: tuple[tuple[int, float], ...] = ()

    @property
    def faster(self) -> bool:
        """Whether it computes the same in clearly less time."""
        return self.decision == "SAME RESULT" and self.cost < FASTER


@dataclass(frozen=True, slots=True)
class Step:
    """One trick of a recipe: the practice, its arm, and the verdict that it rests on."""

    practice: str
    arm: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Recipe:
    """The tricks that were proven together, in the order in which they are applied.

    ``rate`` is the factor on the setup's learning rate that they were proven with, ``together`` the
    verdict on all of them against the bare setup, ``context`` what that is about.
    """

    setup: str = ""
    metric: str = ""
    steps: tuple[Step, ...] = ()
    rate: float = 1.0
    together: Verdict | None = None
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial(Shown):
    """What `nomagic.try_` returns, and what it shows on the way: a verdict for each arm.

    ``points`` says that the metric is a share and is told in points of a hundred. ``pairs`` is the
    number planned for each arm, ``seconds`` the time spent, ``left`` what is left of the budget,
    ``phase`` what goes on now. ``ending`` is empty until it is over. ``bar`` is the evidence that
    would prove an arm on its own, however often one looks, and ``left_out`` the arms that there was
    no time for.
    """

    setup: str
    metric: str
    points: bool
    verdicts: tuple[Verdict, ...] = ()
    recipe: Recipe = Recipe()
    pairs: int = 0
    phase: str = ""
    seconds: float = 0.0
    left: float = float("inf")
    ending: Literal["", "finished", "out of time", "interrupted"] = ""
    context: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    bar: float = 20.0
    left_out: tuple[str, ...] = ()


# -- fit: stages, pictures ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Series:
    """One line, set of points or set of bars of a `Picture`.

    ``x`` may be words (bars); ``low`` and ``high`` are the ends of a band or of intervals, empty
    where there are none. A ``guide`` is a line to compare with, such as perfect calibration. A
    ``map`` is one row of a table of shades: ``name`` is the row's, ``x`` its columns, ``y`` the
    values that are shaded; all series of such a picture are maps. ``stack`` series lie on top of
    each other.
    """

    name: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    kind: Literal["line", "points", "bars", "guide", "map", "stack"] = "line"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as data: what it shows, its axes with their units, and its series.

    ``says`` is one sentence on what one sees, which stands below it and for it where it cannot
    be seen. ``log`` names the axes that are logarithmic: "", "x", "y" or "xy". Of a map, ``y`` is
    what the shades mean and ``rows`` what its rows are.
    """

    title: str
    says: str
    x: str
    y: str
    series: tuple[Series, ...]
    log: Literal["", "x", "y", "xy"] = ""
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One sample as people see, hear or read it.

    ``media`` is a whole PNG or WAV file, ``text`` the text or table row itself, or for a picture or
    a sound what stands for it where it cannot be seen or heard.
    """

    caption: str
    kind: Literal["image", "sound", "text"]
    media: bytes = b""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Several samples under one sentence that says what they show."""

    title: str
    says: str
    exhibits: tuple[Exhibit, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a fit: the evidence, and what it changes in the setup for the next one.

    ``says`` are sentences for people, ``numbers`` plain values for machines, ``change`` the fields
    of the setup that it sets, as `nomagic.described` writes them. ``skipped`` says why it did
    nothing.
    """

    name: str
    says: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    change: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: str = ""
    galleries: tuple[Gallery, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit(Shown):
    """What `nomagic.fit` did, and what it shows on the way: the stages so far, in order.

    ``points`` says that the metric is a share and is told in points of a hundred. ``phase`` is what
    goes on now, ``left`` the seconds left of the budget. ``ending`` is empty until it is over.
    ``score`` is what the model that was saved in ``directory`` reached on the test part, which no
    stage had seen.
    """

    setup: str
    metric: str
    points: bool
    directory: str
    stages: tuple[Stage, ...] = ()
    score: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    seconds: float = 0.0
    left: float = float("inf")
    ending: Literal["", "finished", "stopped", "interrupted"] = ""
    context: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


# -- look: what is in the data --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """One question about the data: what was seen, and what is wrong with it.

    ``says`` are sentences for people, ``numbers`` plain values for machines. ``skipped`` says why
    nothing was looked at. A finding's ``practice`` is the advice behind it, where there is one.
    """

    name: str
    says: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    skipped: str = ""

    @property
    def severity(self) -> Severity | None:
        """The gravest severity among the findings, or None."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)


@dataclass(frozen=True, slots=True)
class Survey(Shown):
    """What `nomagic.look` found in data: one section for each question, in order.

    ``subject`` is the data's name, ``form`` that of an input as the network is fed it. ``context``
    says how much was looked at. ``phase`` is what goes on now, empty when it is over.
    """

    subject: str
    form: Form
    sections: tuple[Section, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    phase: str = ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all sections, gravest first."""
        found = [finding for section in self.sections for finding in section.findings]
        return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))
