"""What the setup's own network makes of the data: fresh, and after a short training."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nomagic.engine import plain, scores
from nomagic.engine.plan import Plan
from nomagic.looking.study import Study
from nomagic.looking.subject import Subject
from nomagic.words import Finding, Picture, Section, Series

NAME = "the network"
SAMPLES = 2_000
"""Samples that it is trained and scored on, at most."""
STEPS = 200
"""Steps of the short training, at most."""
SECONDS = 30.0
"""The training is left out where it would take longer by a first step."""
BATCH = 64
ABOVE = 1.5
"""Nats by which the first loss may lie above that of guessing (see loss-at-init)."""


def look(study: Study) -> Section:
    """Outputs and loss of the fresh network, and scores by class after a short training."""
    subject = study.subject
    setup = subject.given.setup
    if setup is None:
        return Section(NAME, skipped="no model was given: a setup has one")
    plan = _plan(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fresh = _fresh(plan, subject.seed)
        except Exception as error:
            return Section(
                NAME, findings=(_failed(error),), numbers={"error": type(error).__name__}
            )
        trained, left_out = _trained(plan, subject.seed)
    numbers: dict[str, Any] = {"fresh": fresh} | ({"trained": trained} if trained else {})
    says = [_told(fresh)]
    says += [_after(trained, plan)] if trained else []
    says += [left_out] if left_out else []
    pictures = (_picture(trained["by class"]),) if trained.get("by class") else ()
    return Section(NAME, tuple(says), tuple(_findings(fresh)), numbers, pictures)


def _plan(subject: Subject) -> Plan:
    """The setup on some of the samples that are looked at."""
    setup = subject.given.setup
    assert setup is not None, "there is a setup"
    some = (
        subject.places[
            torch.randperm(len(subject), generator=torch.Generator().manual_seed(subject.seed))[
                :SAMPLES
            ]
        ]
        .sort()
        .values
    )
    split = "fresh" if setup.split == "fixed" else setup.split
    groups = None if setup.groups is None else torch.as_tensor(setup.groups)[some]
    steps = max(1, math.ceil(len(some) * (1 - setup.held_out) / setup.batch_size))
    epochs = max(1, min(setup.epochs, STEPS // steps))
    short = replace(
        setup, split=split, groups=groups, epochs=epochs, members=1, patience=None, device="cpu"
    )
    return Plan(short, subject.given.data.subset(some))


@torch.no_grad()
def _fresh(plan: Plan, seed: int) -> dict[str, Any]:
    """What the fresh network gives for one batch."""
    member = plan.members([seed])[0]
    model = plan.model(member).eval()
    part = plan.part(seed)
    x, y = plan.fetch(part.train[:BATCH])
    with plan.computing():
        outputs = model(plan.prepare(x, part.fitted)).to(plan.dtype)
    loss = float(plan.loss(outputs, y))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "output": list(outputs.shape[1:]),
        "finite": bool(outputs.isfinite().all()),
        "mean": float(outputs.mean()),
        "deviation": float(outputs.std()),
        "loss": loss,
        "loss of guessing": _chance(plan),
        "most often said": _often(plan, outputs),
    }


def _chance(plan: Plan) -> float:
    """The loss of saying nothing: equal probabilities; nan in a regression or with an own loss."""
    own = plan.setup.loss is not None
    if own or plan.form.task == "regression":
        return math.nan
    classes = plan.form.outputs if plan.form.task in ("classification", "sequence") else 2
    return math.log(max(2, classes))


def _often(plan: Plan, outputs: Tensor) -> float:
    """The share of a batch that gets the most frequent answer; nan where there are no classes."""
    if plan.form.task != "classification":
        return math.nan
    return float(torch.bincount(outputs.argmax(-1)).max()) / len(outputs)


def _trained(plan: Plan, seed: int) -> tuple[dict[str, Any], str]:
    """Scores on the held-out part after a short training, or why there was none."""
    member = plan.members([seed])[0]
    run = plain.Running(plan, member)
    run.scheduler = None  # it may count the steps of the training
    run.step(plan.batches(member, 0)[0])  # the first one also makes things ready
    began = time.perf_counter()
    run.step(plan.batches(member, 0)[-1])
    takes = (time.perf_counter() - began) * plan.steps(member)
    if takes > SECONDS:
        return (
            {},
            f"It is not trained here: {plan.steps(member)} steps would take about {takes:.0f} s.",
        )
    try:
        trained = plain.fit(plan, member)
        outputs, targets = plain.outputs_of(plan, trained.model, plan.part(seed))
    except Exception as error:
        return {}, f"A short training failed: {type(error).__name__}: {error}"
    if trained.failed or not bool(outputs.isfinite().all()):
        return {}, "A short training ended in NaN."
    found = scores.score(plan.setup, plan.form.task, outputs, targets)
    known = {"steps": plan.steps(member), "metric": plan.metric, "value": found[plan.metric]}
    return known | {
        "held out": len(targets),
        "scores": found,
        "by class": _by_class(plan, outputs, targets),
    }, ""


def _by_class(plan: Plan, outputs: Tensor, targets: Tensor) -> dict[str, dict[str, float]]:
    if plan.form.task != "classification":
        return {}
    right = outputs.argmax(-1) == targets
    loss = F.cross_entropy(outputs.float(), targets, reduction="none")
    names = plan.form.labels
    return {
        names[code] if names else str(code): {
            "samples": int((targets == code).sum()),
            "accuracy": float(right[targets == code].float().mean()),
            "loss": float(loss[targets == code].mean()),
        }
        for code in targets.unique().tolist()
    }


def _told(fresh: dict[str, Any]) -> str:
    shape = " × ".join(map(str, fresh["output"])) or "1"
    guess = fresh["loss of guessing"]
    beside = f"; guessing has {guess:.3g}" if math.isfinite(guess) else ""
    return (
        f"The fresh network has {fresh['parameters']:,} parameters and gives {shape} numbers for "
        f"an input, of mean {fresh['mean']:.3g} and deviation {fresh['deviation']:.3g}; its first "
        f"loss is {fresh['loss']:.3g}{beside}."
    )


def _after(trained: dict[str, Any], plan: Plan) -> str:
    value = trained["value"]
    told = f"{value:.1%}" if plan.metric in scores.PERCENT else f"{value:.3g}"
    return (
        f"After {trained['steps']:,} steps on a part of the samples it has {plan.metric} {told} on "
        f"{trained['held out']:,} that it had not seen; a whole training may do better."
    )


def _findings(fresh: dict[str, Any]) -> Iterator[Finding]:
    guess = fresh["loss of guessing"]
    if not fresh["finite"]:
        yield Finding(
            message="the fresh network gives NaN or infinity",
            seen="on its first batch, before any training",
            fix="look for a division by zero, a logarithm of zero, or inputs far too large",
            severity="fault",
            practice="loss-at-init",
        )
    elif math.isfinite(guess) and fresh["loss"] > guess + ABOVE:
        yield Finding(
            message="the first loss is far above that of guessing",
            seen=f"{fresh['loss']:.3g} on the first batch, guessing has {guess:.3g}: the network "
            "starts out sure and wrong",
            fix="scale the inputs, and start the last layer with small weights",
            severity="warning",
            practice="loss-at-init",
        )


def _failed(error: Exception) -> Finding:
    return Finding(
        message="the network does not take the data",
        seen=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
            :300
        ],
        fix="compare the shape that it expects with the one above",
        severity="fault",
    )


def _picture(by_class: dict[str, dict[str, float]]) -> Picture:
    names = sorted(by_class, key=lambda name: by_class[name]["accuracy"])[:30]
    bars = Series(
        "accuracy", tuple(names), tuple(by_class[n]["accuracy"] for n in names), kind="bars"
    )
    says = "After a short training, on samples that it had not seen."
    return Picture("The network by class", says, "class", "accuracy", (bars,))
