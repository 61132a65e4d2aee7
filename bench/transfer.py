"""What unsupervised pre-training brings, by the number of labels, at equal compute.

For each set: a small network, pre-trained on all training inputs, against training from
scratch, the better of one that is as long on labels and one that is longer by the cost of
pre-training. Pairs share split, labels and the initial head. The plans are fixed, so that a run can
be repeated.

usage: python bench/transfer.py [--sets digits,fashion,fsdd] [--how stacked] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nomagic.engine import choose
from nomagic.engine.plan import Plan
from nomagic.fitting import transfer
from nomagic.parts import nets
from nomagic.parts.pretext import Kind
from nomagic.setups import resolve
from nomagic.words import Setup, Stage

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """One set: the setup and its epochs, what is compared, the shares of labels, the seeds, and the
    share of the default length of pre-training.
    """

    setup: Setup
    kinds: tuple[Kind, ...]
    shares: tuple[float, ...]
    seeds: int
    factor: float


def comparisons() -> dict[str, Comparison]:
    """All sets: two hidden layers of 64 for images, a small convolutional network for speech."""
    digits, fashion = (
        replace(resolve(name), model=nets.mlp) for name in ("digits", "fashion-mnist")
    )
    speech = replace(resolve("fsdd"), epochs=3)
    both: tuple[Kind, ...] = ("contrastive", "denoising")
    return {
        "digits": Comparison(digits, both, (0.03, 0.1, 1.0), 9, 1.0),
        "fashion": Comparison(fashion, both, (0.01, 1.0), 8, 0.25),
        "fsdd": Comparison(speech, ("contrastive",), (0.03, 1.0), 6, 0.25),
    }


SAMPLES = 10_000


def plan_of(setup: Setup) -> Plan:
    """The setup with at most 10,000 samples."""
    plan = Plan(setup)
    some = torch.arange(min(SAMPLES, len(plan.data)))
    return Plan(setup, plan.data.subset(some))


def measure(name: str, how: choose.How, quick: bool) -> Stage:
    """The comparison of one set."""
    one = comparisons()[name]
    plan, seeds, factor = plan_of(one.setup), one.seeds, one.factor
    if quick:
        plan = Plan(replace(plan.setup, epochs=1), plan.data.subset(torch.arange(600)))
        seeds, factor = 2, 0.01
    labels = transfer.counts(plan, one.shares)
    proposal = transfer.planned(plan, one.kinds, labels, range(seeds), factor, how)
    return transfer.compare(plan, proposal, tell=lambda said: print(f"{name}: {said}", flush=True))


def table(name: str, stage: Stage) -> str:
    """One set as text and a table."""
    numbers = stage.numbers
    controls, proposal = numbers["scores"], numbers["proposal"]
    lines = [
        f"## {name}",
        "",
        (
            f"{len(proposal['seeds'])} seeds, {numbers['metric']} on the held-out part; "
            f"pre-training costs {proposal['passes']:,.0f} passes of a sample. "
            f"{stage.seconds:,.0f} s."
        ),
        "",
        "| labels | scratch | scratch, longer | kind | pre-trained | to the better | decision |",
        "| ---: | ---: | ---: | --- | ---: | --- | --- |",
    ]
    for one in numbers["judged"]:
        count = str(one["labels"])
        means = [mean(controls[arm][count]) for arm in (*transfer.CONTROLS, one["kind"])]
        lines.append(
            f"| {one['labels']:,} | {means[0]} | {means[1]} | {one['kind']} | {means[2]} "
            f"| {points(one)} | {one['decision']} |"
        )
    return "\n".join([*lines, "", *(f"- {said}" for said in stage.says), ""])


def mean(values: Sequence[float]) -> str:
    """The mean and the standard deviation over seeds, in percent."""
    found = 100 * torch.tensor(values, dtype=torch.float64)
    return f"{float(found.mean()):.1f} ± {float(found.std()):.1f}"


def points(one: dict[str, Any]) -> str:
    """An effect with its interval, in points."""
    ends = [one["low"], one["high"]]
    inside = "" if None in ends else f" ({100 * ends[0]:.1f} … {100 * ends[1]:.1f})"
    return f"{100 * one['effect']:+.1f}{inside}"


def write(found: dict[str, Any], quick: bool) -> None:
    """The raw numbers and the tables of all sets so far."""
    if quick:
        return
    file = RESULTS / "transfer.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    known |= found
    file.write_text(json.dumps(known, indent=1) + "\n")
    head = (
        "# What unsupervised pre-training brings, by labels\n\n"
        "`python bench/transfer.py`; accuracy in percent, mean ± standard deviation over seeds. "
        "The last difference is paired, with a 95 % interval.\n"
    )
    texts = [table(name, Stage(**{**one, "pictures": ()})) for name, one in known.items()]
    (RESULTS / "transfer.md").write_text("\n".join([head, *texts]))


def main() -> None:
    """Measure the sets that were asked for, and write after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sets", default="digits,fashion,fsdd")
    parser.add_argument("--how", default="stacked", help="the engine: stacked, processes, plain")
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    given = parser.parse_args()
    for name in given.sets.split(","):
        stage = measure(name, given.how, given.quick)
        print(table(name, stage), flush=True)
        facts = {"name": stage.name, "says": stage.says, "numbers": stage.numbers}
        where = f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores"
        facts["numbers"]["where"] = where
        write({name: {**facts, "seconds": stage.seconds}}, given.quick)


if __name__ == "__main__":
    main()
