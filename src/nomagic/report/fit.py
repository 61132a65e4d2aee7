"""A fit on a terminal: the stages with their evidence as they come, and what the model reached.

A phase is the name of the stage and, behind a dot, what it does: "tune · epoch 3 of 9".

``Fit.score`` has the metric under its own name, and where they are known ``low`` and ``high``, the
ends of its 95 % interval; ``samples``, the size of the test part; ``plain``, the score of the best
plain model on the same samples; ``gain``, by how much the model beats that (above 0 is better,
whatever the metric), with ``gain low`` and ``gain high``. All other entries are further metrics.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from nomagic.report.grid import number
from nomagic.report.lines import clean, count, duration, glyphs, hang, spelt
from nomagic.report.progress import Progress
from nomagic.words import Fit, Stage

SAID = 2
"""Sentences of a stage that are printed; the report has all."""
NARROW = 72
"""With fewer columns sentences stand below the names of stages."""
SURE = 0.05
"""A mean confidence so much above the share of right answers, under shift, is told."""
OURS = frozenset(("low", "high", "samples", "plain", "gain", "gain low", "gain high"))
"""Entries of a score that are no metrics."""


WHY = {
    "data": "What is there to learn from? Odd data spoils everything that comes after it.",
    "baselines": "What does one get without a network? Whatever is not better than this is not "
    "worth its trouble.",
    "overfit": "Can a network learn this at all, and how large must it be? The ladder goes from "
    "small to large and stops where more weights bring no more than noise.",
    "regularise": "Which tricks help here? Each is tried in pairs of runs that differ in nothing "
    "else.",
    "transfer": "Does it help to learn from inputs without labels first, or to begin with weights "
    "that were trained elsewhere?",
    "tune": "Which learning rate, batch size and weight decay? Only what holds on fresh seeds is "
    "kept, since the best of many tries is partly luck.",
    "squeeze": "Now in earnest: several networks, trained longer, whose answers are averaged.",
    "blend": "Boosted trees err in other places than networks: are both together better?",
    "shrink": "How small and fast can it be without getting worse? A small network learns from the "
    "large ones.",
    "growth": "What would more data bring? The model is trained on shares of the data, and the "
    "curve is read on.",
    "trust": "Does the model know what it does not know? Its confidence is held against how often "
    "it is right, also on inputs that are blurred, noisy or shifted.",
    "test": "The only number that counts: samples that no stage has seen, used once.",
}
"""What each stage asks, for somebody who has never trained a network."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a fit comes to: the test score, its interval and size, the plain model beside it.

    ``plain`` is a sentence, ``better`` whether the model is surely better than a plain one (None:
    not known). All are empty where they are not known.
    """

    metric: str = ""
    value: str = ""
    interval: str = ""
    samples: int = 0
    plain: str = ""
    better: bool | None = None
    others: tuple[tuple[str, str], ...] = ()


def headline(fit: Fit) -> Headline:
    """The score of a fit in words."""
    score = fit.score
    if fit.metric not in score:
        return Headline()
    interval = ""
    if {"low", "high"} <= set(score):
        interval = _interval(score["low"], score["high"], fit.points)
    plain, better = _plain(fit)
    return Headline(
        metric=fit.metric,
        value=_value(score[fit.metric], fit.points),
        interval=interval,
        samples=int(score.get("samples", 0)),
        plain=plain,
        better=better,
        others=tuple(
            (name, number(value))
            for name, value in score.items()
            if name not in OURS and name != fit.metric
        ),
    )


def commands(fit: Fit) -> tuple[str, str]:
    """How the model is used, from a shell and from Python; with the code that holds its network."""
    code = fit.context.get("code")
    option, argument = (f" --setup {shlex.quote(code)}", f", {code!r}") if code else ("", "")
    return (
        f"nomagic predict {shlex.quote(fit.directory)} DATA{option}",
        f"nomagic.load({fit.directory!r}{argument}).predict(x)",
    )


def show(fit: Fit, out: Console, written: str = "") -> None:
    """Print the stages, the score and where the report was ``written``."""
    for line in _report(fit, out, written):
        out.print(line, soft_wrap=True)


class Screen(Progress):
    """Shows a fit while it runs: the stages so far on a terminal, a line for each in a pipe."""

    def __init__(self, out: Console) -> None:
        super().__init__(out)
        self._told, self._began = 0, ""

    def tell(self, fit: Fit) -> None:
        """Show the fit as it stands."""
        if self._live:
            self._live.update(Group(*self._lines(fit)), refresh=True)
            return
        for stage in fit.stages[self._told :]:
            self.out.print(_row(stage, _widest(fit), self.out), soft_wrap=True)
        self._told = len(fit.stages)
        begun = fit.phase.partition(" · ")[0]
        if begun not in (self._began, ""):
            self._began = begun
            self.out.print(_now(fit, self.out), soft_wrap=True)

    def _lines(self, fit: Fit) -> Iterator[Text]:
        room = max(1, self.out.height - 3)
        for stage in fit.stages[-room:]:
            line = _row(stage, _widest(fit), self.out)
            line.truncate(self.out.width - 1, overflow="ellipsis")
            yield line
        yield _now(fit, self.out)


# -- what to do next ----------------------------------------------------------------------------


def following(fit: Fit) -> list[str]:
    """What to do next, the most pressing first, as the evidence of the stages has it."""
    known = {stage.name: stage.numbers for stage in fit.stages if not stage.skipped}
    steps = (
        *_data(known.get("data", {})),
        *_model(known.get("test", {})),
        *_size(known.get("overfit", {})),
        *_more(known.get("growth", {})),
        *_doubt(known.get("trust", {})),
        *_small(fit, known.get("shrink", {})),
        *_time(fit),
        *_labels(fit),
    )
    return list(steps)


def _data(numbers: dict[str, Any]) -> Iterator[str]:
    shared = numbers.get("in training and test", 0)
    if shared:
        yield (
            f"Mend the data first: {count(shared, 'test sample')} can be found in the training "
            "data, too, so that the test score is too good."
        )


def _model(numbers: dict[str, Any]) -> Iterator[str]:
    lead = numbers.get("lead", {})
    if not lead:
        return
    if lead["high"] < 0:
        yield "Use the plain model: it is better than the networks, and cheaper."
    elif lead["low"] <= 0:
        yield (
            "Ask whether a network is needed: the best plain model cannot be told from it on the "
            "test part."
        )


def _size(numbers: dict[str, Any]) -> Iterator[str]:
    trouble = numbers.get("diagnosis", {}).get("trouble", "")
    names = [one.get("network", "") for one in numbers.get("rungs", ())]
    if trouble in ("bias", "both") and numbers.get("chosen", "") in names[:-1]:
        yield (
            "Better inputs or labels: the network does not fit its training data, and larger ones "
            "on the ladder did no better, so that more capacity is not what is missing."
        )
    elif trouble in REMEDIES:
        yield REMEDIES[trouble]


REMEDIES = {
    "bias": "More capacity: the network does not even fit its training data. Give it more layers "
    "or units, or more time.",
    "both": "More capacity first, then more data: the network does not fit its training data, and "
    "does worse still on what it has not seen.",
    "variance": "More data, or more variety in it (augmentation): the network fits its training "
    "data much better than what it has not seen. A larger network is not what is missing.",
    "unfinished": "More time: the validation loss was still falling when the networks of the "
    "ladder ended.",
    "diverged": "A lower learning rate: training got lost.",
    "ceiling": "Better labels or other inputs, if you need more: on the validation part this "
    "network is as good as can be told, and a larger one will not help.",
}
"""What the diagnosis of the curves asks for."""


def _more(numbers: dict[str, Any]) -> Iterator[str]:
    helps = numbers.get("helps")
    if helps is True:
        yield "Twice the data is expected to pay; see the stage growth for how much."
    elif helps is False:
        yield "Twice the data would hardly change the score, says the stage growth."


def _doubt(numbers: dict[str, Any]) -> Iterator[str]:
    if numbers.get("overconfidence", 0.0) > SURE:
        yield (
            "Do not trust its confidence on strange inputs: where these were blurred, noisy or "
            "shifted, it was more often wrong than it said. If yours will be so, add such ones to "
            "the training (augmentation)."
        )


def _small(fit: Fit, numbers: dict[str, Any]) -> Iterator[str]:
    name = numbers.get("smallest as good", "")
    if name and name != numbers.get("kept"):
        yield f"For a phone or a browser take {fit.directory}/small: {name} is as good."


def _time(fit: Fit) -> Iterator[str]:
    short = [one.name for one in fit.stages if "time" in one.skipped]
    if short:
        yield f"Give it more time: there was none for {', '.join(short)}."


def _labels(fit: Fit) -> Iterator[str]:
    if any(stage.galleries for stage in fit.stages if stage.name == "test"):
        yield (
            "Look at the worst mistakes in the stage test, one by one. It is the cheapest hour "
            "that you can spend: wrong labels and missing information show there."
        )


# -- lines ----------------------------------------------------------------------------------------


def _report(fit: Fit, out: Console, written: str) -> Iterator[Text]:
    dot = f" {glyphs(out).dot} "
    ending = {
        "interrupted": "interrupted; the same command goes on from here",
        "stopped": "stopped where it was asked to",
    }.get(fit.ending, "")
    parts = [f"nomagic fit {fit.setup}", duration(fit.seconds), ending]
    header = clean(dot.join(filter(None, parts)))
    header.stylize("bold", 0, len("nomagic"))
    yield from hang(out, "", "", header)
    yield Text()
    widest = _widest(fit)
    for stage in fit.stages:
        yield from _stage(stage, widest, out)
    for remark in fit.remarks:
        yield from hang(out, "", "", _said(remark, out))
    yield Text()
    yield from _outcome(fit, out)
    if written:
        yield from hang(out, "", "", clean(written))


def _stage(stage: Stage, widest: int, out: Console) -> Iterator[Text]:
    name = _name(stage, widest, out)
    if out.width < NARROW:
        yield name
    first, indent = out.width >= NARROW, " " * (name.cell_len + 2 if out.width >= NARROW else 4)
    for sentence in _sentences(stage, out):
        for line in hang(out, indent, "", sentence):
            yield name + Text("  ") + line[len(indent) :] if first else line
            first = False
    if first:
        yield name


def _name(stage: Stage, widest: int, out: Console) -> Text:
    sign = (glyphs(out).dot, "dim") if stage.skipped else (glyphs(out).tick, "green")
    took = "skipped" if stage.skipped else duration(stage.seconds)
    return Text.assemble(
        " ", sign, " ", clean(stage.name[:widest].ljust(widest), "bold"), (f"  {took:>10}", "dim")
    )


def _sentences(stage: Stage, out: Console) -> Iterator[Text]:
    if stage.skipped:
        yield _said(stage.skipped, out, "dim")
        return
    for sentence in stage.says[:SAID]:
        yield _said(sentence, out)


def _row(stage: Stage, widest: int, out: Console) -> Text:
    """A stage on one line."""
    first = next(_sentences(stage, out), Text())
    return _name(stage, widest, out) + Text("  ") + first


def _now(fit: Fit, out: Console) -> Text:
    dot = f" {glyphs(out).dot} "
    parts = [fit.phase]
    if math.isfinite(fit.left):
        parts.append(f"{duration(max(0.0, fit.left))} left")
    return Text("   ") + _said(dot.join(filter(None, parts)), out, "dim")


def _widest(fit: Fit) -> int:
    return min(24, max((len(stage.name) for stage in fit.stages), default=0))


def _outcome(fit: Fit, out: Console) -> Iterator[Text]:
    found = headline(fit)
    if not found.value:
        yield from hang(out, "", "test    ", Text("no model was tested yet"))
        return
    score = f"{found.metric} {found.value}"
    score += f" (95 %: {found.interval})" if found.interval else ""
    score += f" on {found.samples:,} samples that no stage has seen" if found.samples else ""
    yield from hang(out, "", "test    ", _said(score, out, "bold"))
    if found.plain:
        yield from hang(out, "", "plain   ", _said(found.plain, out))
    yield from hang(out, "", "model   ", clean(fit.directory))
    yield from hang(out, "", "use     ", clean(commands(fit)[0]))


def _said(text: str, out: Console, style: str = "") -> Text:
    return clean(spelt(text, out), style)


# -- the score in words ---------------------------------------------------------------------------


def _plain(fit: Fit) -> tuple[str, bool | None]:
    """The best plain model beside the test score; of the validation part if only that is known."""
    name, known = _baseline(fit)
    score = fit.score
    if "plain" not in score:
        said = f"The best plain model{name} had {_value(known, fit.points)} on the validation part."
        return (said, None) if math.isfinite(known) else ("", None)
    said = (
        f"The best plain model{name} has {_value(score['plain'], fit.points)} on the same samples"
    )
    if "gain" not in score:
        return f"{said}.", None
    gain = _value(abs(score["gain"]), fit.points, "points")
    worse = "better" if score["gain"] >= 0 else "worse"
    ends = ""
    if {"gain low", "gain high"} <= set(score):
        ends = f" ({_interval(score['gain low'], score['gain high'], fit.points, '')})"
    if score.get("gain low", score["gain"]) > 0:
        return f"{said}; this one is {gain} better{ends}.", True
    if score.get("gain high", 0.0) < 0:
        return f"{said}; this one is {gain} worse{ends}: use the plain model.", False
    tie = "which may be chance: the plain model does as well"
    return f"{said}; this one is {gain} {worse}{ends}, {tie}.", False


def _baseline(fit: Fit) -> tuple[str, float]:
    """The name of the best plain model and its score, as the stage of the baselines found them."""
    for stage in fit.stages:
        best: Any = stage.numbers.get("best")
        models: Any = stage.numbers.get("models")
        if stage.name == "baselines" and isinstance(models, dict) and best in models:
            return f" ({best})", float(models[best].get("value", math.nan))
    return "", math.nan


def _value(value: float, points: bool, unit: str = "%") -> str:
    return f"{100 * value:.1f} {unit}" if points else number(float(value))


def _interval(low: float, high: float, points: bool, unit: str = " %") -> str:
    if not points:
        return f"{number(float(low))} … {number(float(high))}"
    return f"{100 * low:.1f}{unit} … {100 * high:.1f}{unit}".replace("-", "−")
