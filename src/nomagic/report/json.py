"""The report for machines: JSON by a versioned schema, described in docs/json.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from nomagic.words import SEVERITIES, Picture, Record, Severity

VERSION = 1
"""Grows when a field is renamed, removed or changes its meaning; new fields do not count."""

Seconds = float | None


class Finding(Struct):
    """A practice broken in the run."""

    practice: Annotated[str, Meta(description="The practice's name, as `nomagic explain` takes it")]
    severity: Annotated[Severity, Meta(description="How sure we are: proven, likely, information")]
    message: Annotated[str, Meta(description="What is wrong")]
    seen: Annotated[str, Meta(description="The evidence, with its numbers")]
    fix: Annotated[str, Meta(description="What to do")]
    file: Annotated[str | None, Meta(description="The file of the line that would change")]
    line: Annotated[int | None, Meta(description="The line that would change, from 1")]
    function: Annotated[str | None, Meta(description="The function that holds the line")]


class NotLookedAt(Struct):
    """A practice of which this run says nothing."""

    practice: Annotated[str, Meta(description="The practice's name")]
    status: Annotated[
        Literal["not-applicable", "could-not-look"],
        Meta(description="Whether the question does not arise, or could not be answered"),
    ]
    reason: Annotated[str, Meta(description="Why")]


class Overhead(Struct):
    """What watching took; null where it could not be measured."""

    share: Annotated[
        Seconds, Meta(description="watching_seconds as a share of the script's own time")
    ]
    watching_seconds: Annotated[Seconds, Meta(description="Time spent on watching during the run")]
    start_seconds: Annotated[Seconds, Meta(description="Time spent once, at the start")]
    experiments_seconds: Annotated[Seconds, Meta(description="Time of the experiments, afterwards")]
    run_seconds: Annotated[Seconds, Meta(description="Time of the run, without the experiments")]


class Ending(Struct):
    """How the script ended."""

    how: Annotated[
        Literal["finished", "stopped", "exit", "interrupted", "crashed"],
        Meta(description="stopped: by --steps; exit: by sys.exit; crashed: by an exception"),
    ]
    code: Annotated[int, Meta(description="The script's own exit code")]
    error: Annotated[str, Meta(description="The exception, if it crashed")]


class Line(Struct):
    """One line, set of points or bars, row of a map, or layer of a stack."""

    name: Annotated[str, Meta(description="What it is of")]
    kind: Annotated[
        Literal["line", "points", "bars", "guide", "map", "stack"],
        Meta(description="How it is drawn; a guide is a line to compare with"),
    ]
    x: Annotated[list[float | str | None], Meta(description="Where, as numbers or names")]
    y: Annotated[list[float | None], Meta(description="The values; null where there is none")]
    low: Annotated[list[float | None], Meta(description="The lower ends of a band, or empty")]
    high: Annotated[list[float | None], Meta(description="The upper ends of a band, or empty")]


class Chart(Struct):
    """A picture of the run as numbers, of bounded size however long the run was."""

    title: Annotated[str, Meta(description="What it shows")]
    says: Annotated[str, Meta(description="How to read it")]
    x: Annotated[str, Meta(description="What x is, with its unit")]
    y: Annotated[str, Meta(description="What y is, with its unit; of a map, what the shades are")]
    log: Annotated[str, Meta(description="The axes that are logarithmic: x, y, xy or none")]
    series: Annotated[list[Line], Meta(description="What is drawn")]
    practices: Annotated[
        list[str], Meta(description="The practices that were judged by it, clean ones too")
    ]


class Report(Struct):
    """One watched run, judged."""

    schema: Annotated[int, Meta(description="The version of this schema")]
    nomagic: Annotated[str, Meta(description="The version of nomagic")]
    command: Annotated[list[str], Meta(description="The script and its arguments")]
    findings: Annotated[list[Finding], Meta(description="What was found, gravest first")]
    not_looked_at: Annotated[
        list[NotLookedAt], Meta(description="The practices of which this run says nothing")
    ]
    clean: Annotated[
        list[str], Meta(description="The practices that were looked at and found to be followed")
    ]
    steps: Annotated[int, Meta(description="Optimizer steps that were seen")]
    backwards: Annotated[int, Meta(description="Backward passes that were seen")]
    overhead: Annotated[Overhead, Meta(description="What watching took")]
    ending: Annotated[Ending, Meta(description="How the script ended")]
    versions: Annotated[dict[str, str], Meta(description="Of Python and of the libraries")]
    remarks: Annotated[list[str], Meta(description="What else a reader should know")]
    charts: Annotated[
        list[Chart], Meta(description="Curves, layers and times of the run, and the evidence")
    ]


def write(record: Record, nomagic: str, file: Path) -> None:
    """Write the report of one run; ``nomagic`` is our version."""
    file.write_text(dumps(record, nomagic) + "\n", encoding="utf-8")


def dumps(record: Record, nomagic: str) -> str:
    """Turn a record into JSON that any parser takes: no NaN, no broken characters."""
    report = msgspec.to_builtins(_report(record, nomagic), enc_hook=str)  # TorchVersion
    return json.dumps(plain(report), indent=2, allow_nan=False, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return msgspec.json.schema(Report)


def _report(record: Record, nomagic: str) -> Report:
    cost = record.cost
    return Report(
        schema=VERSION,
        nomagic=nomagic,
        command=list(record.command),
        findings=[
            Finding(
                practice=finding.practice,
                severity=finding.severity,
                message=finding.message,
                seen=finding.seen,
                fix=finding.fix,
                file=finding.place.file if finding.place else None,
                line=finding.place.line if finding.place else None,
                function=finding.place.function or None if finding.place else None,
            )
            for finding in sorted(record.findings, key=lambda f: SEVERITIES.index(f.severity))
        ],
        not_looked_at=[
            NotLookedAt(look.practice, look.status, look.reason)
            for look in record.looks
            if look.status in ("not-applicable", "could-not-look")
        ],
        clean=[look.practice for look in record.looks if look.status == "clean"],
        steps=record.steps,
        backwards=record.backwards,
        overhead=Overhead(cost.share, cost.watching, cost.start, cost.experiments, cost.run),
        ending=Ending(record.ending.how, record.ending.code, record.ending.error),
        versions=dict(record.versions),
        remarks=list(record.remarks),
        charts=list(_charts(record)),
    )


def _charts(record: Record) -> Iterator[Chart]:
    """Every picture once, with the practices whose evidence it is."""
    judged: dict[Picture, list[str]] = {picture: [] for picture in record.charts}
    for look in record.looks:
        for picture in look.pictures:
            judged.setdefault(picture, []).append(look.practice)
    for picture, practices in judged.items():
        yield Chart(
            title=picture.title,
            says=picture.says,
            x=picture.x,
            y=picture.y,
            log=picture.log,
            series=[
                Line(one.name, one.kind, list(one.x), list(one.y), list(one.low), list(one.high))
                for one in picture.series
            ],
            practices=practices,
        )


def plain(value: Any) -> Any:
    """The value as strict JSON takes it: null for NaN, no lone surrogates."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201
