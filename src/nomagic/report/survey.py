"""A look at data for machines: JSON by a versioned schema. Pictures and sounds are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from nomagic import words
from nomagic.report.json import plain
from nomagic.words import Survey

VERSION = 1
"""Grows when a field is renamed, removed or changes its meaning; new fields do not count."""


class Finding(Struct):
    """Something that is wrong with the data, or worth a look."""

    severity: Annotated[
        Literal["fault", "warning", "note"],
        Meta(description="fault: proven; warning: likely; note: information"),
    ]
    message: Annotated[str, Meta(description="What is wrong")]
    seen: Annotated[str, Meta(description="The evidence, with its numbers")]
    fix: Annotated[str, Meta(description="What to do")]
    practice: Annotated[str, Meta(description="The advice behind it, or empty")]


class Sample(Struct):
    """A sample that the page shows."""

    gallery: Annotated[str, Meta(description="What it is shown as")]
    caption: Annotated[str, Meta(description="Its name, its target, what is said of it")]
    text: Annotated[str, Meta(description="The sample itself, or what stands for it")]


class Section(Struct):
    """One question about the data."""

    name: str
    says: Annotated[list[str], Meta(description="The answer in sentences")]
    findings: list[Finding]
    numbers: Annotated[dict[str, Any], Meta(description="The answer in numbers")]
    samples: list[Sample]
    skipped: Annotated[str, Meta(description="Why nothing was looked at, or empty")]


class Report(Struct):
    """One look at data."""

    schema: Annotated[int, Meta(description="The version of this schema")]
    nomagic: Annotated[str, Meta(description="The version of nomagic")]
    subject: Annotated[str, Meta(description="The name of the data")]
    task: Annotated[str, Meta(description="What is to be predicted")]
    input: Annotated[list[int], Meta(description="The shape of an input of the network")]
    sections: list[Section]
    context: Annotated[dict[str, Any], Meta(description="How much was looked at")]
    remarks: list[str]
    seconds: float


def write(survey: Survey, nomagic: str, file: Path) -> None:
    """Write a survey; ``nomagic`` is our version."""
    file.write_text(dumps(survey, nomagic) + "\n", encoding="utf-8")


def dumps(survey: Survey, nomagic: str) -> str:
    """Turn a survey into JSON that any parser takes: no NaN, no broken characters."""
    report = Report(
        schema=VERSION,
        nomagic=nomagic,
        subject=survey.subject,
        task=str(survey.context.get("task", survey.form.task)),
        input=list(survey.form.shape),
        sections=[_section(one) for one in survey.sections],
        context=survey.context,
        remarks=list(survey.remarks),
        seconds=survey.seconds,
    )
    found = msgspec.to_builtins(report, enc_hook=str, str_keys=True)
    return json.dumps(plain(found), indent=2, allow_nan=False, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return msgspec.json.schema(Report)


def _section(section: words.Section) -> Section:
    return Section(
        name=section.name,
        says=list(section.says),
        findings=[
            Finding(one.severity, one.message, one.seen, one.fix, one.practice)
            for one in section.findings
        ],
        numbers=section.numbers,
        samples=[
            Sample(gallery.title, one.caption, one.text)
            for gallery in section.galleries
            for one in gallery.exhibits
        ],
        skipped=section.skipped,
    )


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201
