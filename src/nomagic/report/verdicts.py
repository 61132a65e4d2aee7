"""A trial for machines: JSON by a versioned schema, described in docs/json.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from nomagic import words
from nomagic.report.json import plain
from nomagic.words import Decision, Step, Trial

VERSION = 1
"""Grows when a field is renamed, removed or changes its meaning; new fields do not count."""

Number = float | None


class Failures(Struct):
    """Runs that ended without a finite loss and outputs."""

    baseline: int
    arm: int


class Pair(Struct):
    """One pair of runs: the same seed without and with the trick."""

    seed: int
    difference: Annotated[
        Number, Meta(description="Arm less baseline, above 0 is better; null: a run failed")
    ]
    failed: Annotated[
        Literal["", "baseline", "arm", "both"], Meta(description="Whose run failed, if any")
    ]


class Look(Struct):
    """What was known after one lot of pairs."""

    pairs: Annotated[int, Meta(description="The pairs so far")]
    evidence: Annotated[Number, Meta(description="The e-value then")]


class Verdict(Struct):
    """What is known of one arm against its baseline."""

    practice: Annotated[str, Meta(description="The practice's name, as `nomagic explain` takes it")]
    arm: Annotated[str, Meta(description="The way to follow it that was tried")]
    verdict: Annotated[Decision, Meta(description="What was decided; OPEN: not yet")]
    effect: Annotated[
        Number, Meta(description="Mean paired difference, in the metric's unit; above 0 is better")
    ]
    low: Annotated[Number, Meta(description="The lower end of its 95 % interval, null: unknown")]
    high: Annotated[Number, Meta(description="The upper end")]
    evidence: Annotated[Number, Meta(description="The e-value against no difference")]
    better: Annotated[Number, Meta(description="The probability that the arm wins a pair")]
    pairs: Annotated[int, Meta(description="Pairs of runs that this rests on")]
    failures: Annotated[Failures, Meta(description="Failed runs among them")]
    cost: Annotated[Number, Meta(description="Training time over the baseline's")]
    fresh: Annotated[
        bool, Meta(description="Whether effect and interval are from the recipe check")
    ]
    needed: Annotated[int, Meta(description="About how many pairs would settle an OPEN one, or 0")]
    reason: Annotated[str, Meta(description="Why, where the numbers do not say it")]
    claim: Annotated[
        Literal["", "confirmed", "not here", "cannot tell"],
        Meta(description="The published effect, held against this; empty: none is known"),
    ]
    mechanism: Annotated[
        str, Meta(description="What else it changed much: flips by a shift, calibration")
    ]
    others: Annotated[
        dict[str, Number], Meta(description="Mean differences in other metrics, arm less baseline")
    ]
    context: Annotated[dict[str, Any], Meta(description="What the verdict is about")]
    paired: Annotated[list[Pair], Meta(description="The pairs themselves, in order")]
    history: Annotated[list[Look], Meta(description="The evidence after each lot of pairs")]


class Trick(Struct):
    """One trick of the recipe."""

    practice: str
    arm: str
    verdict: Annotated[
        Literal["HELPS", "SAME RESULT"],
        Meta(description="Whether it helped, or was proven to compute the same in less time"),
    ]


class Recipe(Struct):
    """What was proven to help, on seeds that had no part in choosing it."""

    tricks: Annotated[list[Trick], Meta(description="In the order in which they are applied")]
    rate: Annotated[float, Meta(description="The factor on the setup's learning rate")]
    together: Annotated[Verdict | None, Meta(description="The whole recipe against the bare setup")]


class Report(Struct):
    """One trial."""

    schema: Annotated[int, Meta(description="The version of this schema")]
    nomagic: Annotated[str, Meta(description="The version of nomagic")]
    setup: Annotated[str, Meta(description="The setup's name")]
    metric: Annotated[str, Meta(description="The metric that decides")]
    verdicts: Annotated[list[Verdict], Meta(description="One for each arm")]
    recipe: Annotated[Recipe, Meta(description="What survived the check; empty without tricks")]
    pairs: Annotated[int, Meta(description="The pairs planned for each arm")]
    seconds: Annotated[Number, Meta(description="The time that was spent")]
    ending: Annotated[
        Literal["", "finished", "out of time", "interrupted"],
        Meta(description="How it ended; after the last two, verdicts are what is known"),
    ]
    context: Annotated[dict[str, Any], Meta(description="What all verdicts are about")]
    remarks: Annotated[list[str], Meta(description="What else a reader should know")]
    bar: Annotated[
        Number, Meta(description="The evidence that would prove an arm on its own at any look")
    ]
    left_out: Annotated[list[str], Meta(description="Arms that there was no time for")]


def write(trial: Trial, nomagic: str, file: Path) -> None:
    """Write a trial; ``nomagic`` is our version."""
    file.write_text(dumps(trial, nomagic) + "\n", encoding="utf-8")


def dumps(trial: Trial, nomagic: str) -> str:
    """Turn a trial into JSON that any parser takes: no NaN, no broken characters."""
    report = msgspec.to_builtins(_report(trial, nomagic), enc_hook=str)
    return json.dumps(plain(report), indent=2, allow_nan=False, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return msgspec.json.schema(Report)


def _report(trial: Trial, nomagic: str) -> Report:
    recipe = trial.recipe
    return Report(
        schema=VERSION,
        nomagic=nomagic,
        setup=trial.setup,
        metric=trial.metric,
        verdicts=[_verdict(one) for one in trial.verdicts],
        recipe=Recipe(
            tricks=[_trick(step) for step in recipe.steps],
            rate=recipe.rate,
            together=_verdict(recipe.together) if recipe.together else None,
        ),
        pairs=trial.pairs,
        seconds=trial.seconds,
        ending=trial.ending,
        context=trial.context,
        remarks=list(trial.remarks),
        bar=trial.bar,
        left_out=list(trial.left_out),
    )


def _trick(step: Step) -> Trick:
    same = step.verdict.decision == "SAME RESULT"
    return Trick(step.practice, step.arm, "SAME RESULT" if same else "HELPS")


def _verdict(one: words.Verdict) -> Verdict:
    values: dict[str, Any] = {name: getattr(one, name) for name in SAME}
    return Verdict(
        verdict=one.decision,
        failures=Failures(*one.failures),
        paired=[Pair(pair.seed, pair.difference, pair.failed) for pair in one.paired],
        history=[Look(*look) for look in one.history],
        **values,
    )


SAME = set(Verdict.__struct_fields__) - {"verdict", "failures", "paired", "history"}
"""The fields that are called as in `nomagic.words.Verdict`."""


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201
