"""What the network is really fed: samples after all transforms and input steps; their ranges."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nomagic.looking import facts
from nomagic.looking.study import Study, spectrum
from nomagic.looking.subject import Subject
from nomagic.parts.presets.kinds import kind
from nomagic.words import Exhibit, Finding, Gallery, Picture, Section, Series

NAME = "what the network is fed"
CLASSES = 12
"""Classes of which samples are shown, at most."""
EACH = {"image": 6, "waveform": 1, "tokens": 1, "series": 1, "table": 1, "other": 1}
"""Samples of a class that are shown, by kind."""
UNLABELLED = 18
SPECTRA = 6
ROWS = 8
"""Rows of a table that are shown."""
CHANNELS = 40
"""Channels or columns whose ranges are told."""
WORDS = 12
WIDE = 10.0
"""Deviations of an input that are called large, and their inverse small (see standardise-input)."""


def look(study: Study) -> Section:
    """Show samples as they enter the network, and say in which ranges they lie."""
    subject = study.subject
    what = kind(subject.form)
    fed = subject.fed
    numbers: dict[str, Any] = {"kind": what}
    if not subject.form.tokens:
        numbers |= {"range": facts.span(fed), "channels": _channels(subject)}
        if subject.table:
            numbers["first rows"] = _rows(subject)
    galleries = [] if subject.table else [_samples(subject, what)]
    if what == "waveform":
        galleries.append(_spectra(subject))
    pictures = () if subject.form.tokens else (_values(fed),)
    if subject.form.tokens:
        pictures = (_frequencies(subject),)
    return Section(
        NAME, tuple(_says(subject, what)), tuple(_findings(subject)), numbers, pictures,
        tuple(galleries),
    )  # fmt: skip


def _says(subject: Subject, what: str) -> Iterator[str]:
    setup = subject.given.setup
    steps = [step.name for step in setup.inputs] if setup else []
    through = f" after {', '.join(steps)}" if steps else ""
    if subject.form.tokens:
        used = len(subject.fed.unique())
        yield f"The network gets tokens: {used} of {subject.form.tokens} different ones occur."
        return
    span = facts.span(subject.fed)
    yield (
        f"The network gets {PLURALS[what]}{through}: numbers from {span['least']:.3g} to "
        f"{span['largest']:.3g}, {span['mean']:.3g} on average with a deviation of "
        f"{span['deviation']:.3g}."
    )
    fixed = facts.constant(subject.fed)
    if fixed and not subject.table:
        share = fixed / max(1, subject.form.features)
        yield f"{fixed:,} numbers of the input ({share:.0%}) are the same in all samples."


PLURALS = {
    "image": "images", "waveform": "waveforms", "series": "series", "tokens": "tokens",
    "table": "rows of a table", "other": "numbers",
}  # fmt: skip


def _findings(subject: Subject) -> Iterator[Finding]:
    fed = subject.fed
    if not fed.is_floating_point():
        return
    bad = ~fed.reshape(len(fed), -1).isfinite().all(1)
    if bool(bad.any()):
        first = ", ".join(subject.called(row) for row in bad.nonzero().flatten()[:5].tolist())
        yield Finding(
            message="the input steps make NaN or infinity",
            seen=f"{int(bad.sum()):,} of {len(fed):,} samples are not finite after the steps, "
            f"though they were before ({first})",
            fix="guard the division: a column that does not vary has the deviation 0",
            severity="fault",
            practice="no-corrupt-samples",
        )
    elif subject.given.setup is not None:
        yield from _scale(facts.span(fed))


def _scale(span: dict[str, float]) -> Iterator[Finding]:
    deviation, mean = span["deviation"], abs(span["mean"])
    if deviation > WIDE or mean > max(3.0, 3 * deviation):
        yield Finding(
            message="the inputs are not scaled",
            seen=f"mean {span['mean']:.3g}, deviation {deviation:.3g} right before the network; "
            "optimizers and initial weights are made for means near 0 and deviations near 1",
            fix="standardise the inputs with the mean and deviation of the training part",
            severity="warning",
            practice="standardise-input",
        )


# -- samples --------------------------------------------------------------------------------------


def _samples(subject: Subject, what: str) -> Gallery:
    """Some samples of each class, drawn at random."""
    order = torch.randperm(len(subject), generator=torch.Generator().manual_seed(subject.seed))
    codes = subject.codes
    if codes is None:
        count = UNLABELLED if what == "image" else min(6, UNLABELLED)
        places = order[:count].tolist()
    else:
        places = [
            place
            for code in codes.unique()[:CLASSES].tolist()
            for place in order[codes[order] == code][: EACH[what]].tolist()
        ]
    drawn = "Some of each class, drawn at random" if codes is not None else "Drawn at random"
    parts = len(subject.parts) > 1 and not subject.given.names
    return subject.gallery(
        "Right before the network",
        f"{drawn}, as they enter the network.",
        [(at, subject.parts[int(subject.part[at])] if parts else "") for at in places],
    )


def _spectra(subject: Subject) -> Gallery:
    order = torch.randperm(len(subject), generator=torch.Generator().manual_seed(subject.seed))
    places = order[:SPECTRA].tolist()
    shown = [Exhibit(subject.caption(at), "image", *_spectrogram(subject, at)) for at in places]
    says = "Time from left to right, low notes below; brighter is louder, over 60 dB."
    return Gallery("Spectrograms", says, tuple(shown))


def _spectrogram(subject: Subject, place: int) -> tuple[bytes, str]:
    """A picture of the spectrogram in matplotlib's colours, and what it shows."""
    import matplotlib as mpl
    from PIL import Image

    bands = spectrum(subject.fed[place].float().mean(0)[None])[0]
    top = float(bands.max())
    shades = ((bands - top) / 6.9 + 1).clamp(0, 1).flip(0)
    colours = mpl.colormaps["magma"](shades.numpy(), bytes=True)[..., :3]
    picture = Image.fromarray(colours).resize((160, 120))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    half = (subject.given.rate or 0) // 2
    return out.getvalue(), f"spectrogram up to {half:,} Hz" if half else "spectrogram"


# -- ranges ---------------------------------------------------------------------------------------


def _channels(subject: Subject) -> dict[str, dict[str, float]]:
    """The range of each channel or column."""
    fed = subject.fed.float()
    if subject.table or len(subject.form.shape) != 3:
        lines = fed.reshape(len(fed), -1, fed.shape[-1] if fed.ndim > 2 else 1)
    else:
        lines = fed.flatten(2)
    names = subject.given.columns
    called = (
        names if len(names) == lines.shape[1] else tuple(map(str, range(1, lines.shape[1] + 1)))
    )
    return {name: facts.span(lines[:, at]) for at, name in enumerate(called[:CHANNELS])}


def _rows(subject: Subject) -> list[dict[str, Any]]:
    """The first rows of a table by column, with their targets: as they lie → as they are fed."""
    return [
        {"sample": subject.called(at), "target": subject.target(at)} | subject.row(at)
        for at in range(min(ROWS, len(subject)))
    ]


def _values(fed: Tensor) -> Picture:
    values = fed.flatten()
    some = values[:: max(1, len(values) // 200_000)].float()
    some = some[some.isfinite()]
    return facts.histogram(some, "The numbers of the inputs", "value")


def _frequencies(subject: Subject) -> Picture:
    counts = torch.bincount(subject.fed.flatten(), minlength=subject.form.tokens)
    order = counts.argsort(descending=True)[: facts.SHOWN].tolist()
    names = tuple(_word(subject.form.labels, code) for code in order)
    bars = Series("tokens", names, tuple(float(counts[code]) for code in order), kind="bars")
    often = ", ".join(names[:WORDS])
    return Picture("How often each token occurs", f"Most often {often}.", "token", "count", (bars,))


def _word(labels: tuple[str, ...], code: int) -> str:
    word = labels[code] if code < len(labels) else str(code)
    return {" ": "space", "\n": "new line", "\t": "tab"}.get(word, word)
