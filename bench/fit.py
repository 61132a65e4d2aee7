"""`nomagic fit` beside what else one would use: the same samples, the same time, one test score.

For each data set and seed every library is given the same training samples and the same seconds, in
a process of its own, one after the other; who begins changes from seed to seed. Its predictions of
the test samples are scored here. Start-up (imports) is left out of the time and told apart. What
each library does is in ``peers/fits.py``.

usage: python bench/fit.py [--sets A,B] [--peers A,B] [--seeds N] [--budget S] [--quick]
                           [--python FILE,FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nomagic.datasets import Data, data

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PROGRAM = HERE / "peers" / "fits.py"
PEERS = {
    "nomagic": "nomagic",
    "mlp": "sklearn",
    "trees": "sklearn",
    "skorch": "skorch",
    "lightning": "lightning",
    "fastai": "fastai",
    "autogluon": "autogluon.tabular",
}
"""The peers, and the module that tells whether an interpreter has them."""
OWN = "nomagic"
TEST = 0.2
"""The share of the samples that is the test where the source has none."""
PATIENCE = 4
"""A run is ended after so many times its budget, and"""
GRACE = 120
"""so many seconds."""
OVER = 1.1
"""A run that takes more than this of its budget is marked."""


@dataclass(frozen=True)
class Set:
    """A data set: its kind, the seconds, the metric, and how the test part is drawn.

    ``test`` is the official one, one at random for each seed, or a group for each seed.
    """

    kind: str
    seconds: float = 150
    metric: str = "accuracy"
    test: str = "official"


SETS = {
    "digits": Set("image", 30, test="random"),
    "california-housing": Set("table", metric="r2", test="random"),
    "adult": Set("table"),
    "fashion-mnist": Set("photo"),
    "fsdd": Set("speech", test="group"),
    "cifar10": Set("photo"),
    "tinyshakespeare": Set("text", metric="nats"),
    "wine": Set("table", 30, test="random"),
}
"""The most important first; wine is for ``--quick``."""
NAMES = tuple(name for name in SETS if name != "wine")
QUICK = ("digits", "wine")
SHORT = 4.0
"""Seconds of a quick run."""


# -- the samples -----------------------------------------------------------------------------------


def parts(found: Data, one: Set, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and test rows."""
    if one.test == "official":
        assert found.test_rows is not None, f"{found.name} comes with a test part"
        return found.test_rows
    if one.test == "group":
        assert found.groups is not None, f"{found.name} has groups"
        names = found.groups.unique()
        held = found.groups == names[seed % len(names)]
        return (~held).nonzero().flatten(), held.nonzero().flatten()
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(found), generator=random)
    cut = round(len(found) * TEST)
    return order[cut:], order[:cut]


def export(name: str, seed: int, folder: Path) -> np.ndarray[Any, Any]:
    """Write what the peers are given to ``case.npz``; return the targets of the test samples."""
    one, found = SETS[name], data(name)
    rows, held = parts(found, one, seed)
    assert isinstance(found.x, torch.Tensor), "built-in sets are in memory"
    assert found.y is not None, "built-in sets are in memory"
    y = found.y.numpy()
    y = y if found.task == "regression" else y.astype(np.int64)
    x, raw, marks = found.x.numpy(), *uncoded(found)
    np.savez(
        folder / "case.npz",
        name=name,
        kind=one.kind,
        classes=0 if found.task == "regression" else max(2, found.form.outputs),
        x=x[rows],
        y=y[rows],
        x_test=x[held],
        raw=raw[rows] if len(raw) else raw,
        raw_test=raw[held] if len(raw) else raw,
        categorical=marks,
        groups=found.groups.numpy()[rows] if one.test == "group" else np.empty(0, np.int64),
        rows=rows.numpy(),
        rows_test=held.numpy(),
    )
    return y[held]


def uncoded(found: Data) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The columns of a table with one code for each category, and which are codes."""
    if found.coding is None:
        return np.empty(0, np.float32), np.empty(0, bool)
    matrix, columns, marks, start = np.asarray(found.x), [], [], 0
    for column in found.coding.columns:
        width = len(column.names)
        own = matrix[:, start : start + width]
        columns += [own.argmax(1)[:, None]] if column.values else [own]
        marks += [True] if column.values else [False] * width
        start += width
    return np.concatenate(columns, 1, dtype=np.float32), np.array(marks)


def score(metric: str, predicted: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """Accuracy in percent, R2 times 100, or nats for each character."""
    if metric == "r2":
        rest = np.square(y - predicted).sum() / np.square(y - y.mean()).sum()
        return 100 * float(1 - rest)
    if metric == "nats":
        own = np.take_along_axis(predicted.reshape(-1, predicted.shape[-1]), y.reshape(-1, 1), 1)
        return -float(np.log(own.clip(1e-9)).mean())
    answers = predicted.argmax(-1) if predicted.ndim > 1 else predicted > 0.5
    return 100 * float((answers == y).mean())


# -- measuring -------------------------------------------------------------------------------------


@lru_cache
def interpreter(peer: str, pythons: tuple[str, ...]) -> str:
    """The first interpreter that has the module of a peer, or nothing."""
    module = PEERS[peer]
    look = f"import importlib.util as u, sys; sys.exit(not u.find_spec({module.split('.')[0]!r}))"
    for python in pythons:
        if subprocess.run([python, "-c", look], check=False, capture_output=True).returncode == 0:
            return python
    return ""


def run(peer: str, python: str, seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    """One peer on the case in the folder; what it said, or why there is nothing."""
    out, began = folder / f"{peer}.npy", time.perf_counter()
    work = folder / peer
    work.mkdir()
    command = [python, str(PROGRAM), peer, str(folder / "case.npz"), str(out)]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--folder", str(work)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=work,
            timeout=PATIENCE * seconds + GRACE,
        )
    except subprocess.TimeoutExpired as late:
        return {"reason": f"not finished after {late.timeout:.0f} s"}
    whole = time.perf_counter() - began
    if done.returncode or not out.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"reason": lines[-1] if lines else f"exit code {done.returncode}"}
    told = json.loads(done.stdout.strip().splitlines()[-1])
    start = whole - told["seconds"] - told["predicting"]
    return {**told, "start": start, "file": str(out)}


@contextlib.contextmanager
def workplace(keep: Path | None, label: str) -> Iterator[Path]:
    """A folder for one data set and seed, which is gone afterwards unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
        return
    folder = keep.absolute() / label
    folder.mkdir(parents=True)
    yield folder


def measure(name: str, seed: int, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All peers on one data set and seed."""
    one, peers = SETS[name], options.peers
    seconds = options.budget or one.seconds
    turn = seed % len(peers)
    with workplace(options.keep, f"{name}-{seed}") as folder:
        y = export(name, seed, folder)
        for peer in peers[turn:] + peers[:turn]:
            row = {"set": name, "seed": seed, "peer": peer, "budget": seconds}
            row |= {"when": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0]}
            python = interpreter(peer, options.pythons)
            if not python:
                yield row | {"reason": "not installed"}
                continue
            found = run(peer, python, seconds, seed, folder)
            if "file" in found:
                found["value"] = score(one.metric, np.load(found.pop("file")), y)
            yield row | found


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One data set: what each peer reached, and who is the best."""

    name: str
    runs: dict[str, dict[int, float]]

    @property
    def one(self) -> Set:
        """What is measured."""
        return SETS[self.name]

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return -1 if self.one.metric == "nats" else 1

    @property
    def best(self) -> str:
        """The peer with the best median."""
        return max(self.runs, key=lambda peer: self.sign * self.median(peer))

    def median(self, peer: str) -> float:
        """Over the seeds."""
        return statistics.median(self.runs[peer].values())

    def gaps(self, peer: str, other: str) -> list[float]:
        """How much better a peer is than another, on each seed that both have."""
        mine, yours = self.runs[peer], self.runs[other]
        return [self.sign * (mine[seed] - yours[seed]) for seed in mine if seed in yours]

    def tied(self, peer: str) -> bool:
        """Whether it was at least as good as the best on some seed."""
        return peer != self.best and max(self.gaps(peer, self.best), default=-1.0) >= 0

    def cell(self, peer: str) -> str:
        """Median and range; the best in bold, tied ones marked, and fewer seeds told."""
        if peer not in self.runs:
            return "–"
        values = list(self.runs[peer].values())
        middle = self.told(self.median(peer))
        middle = f"**{middle}**" if peer == self.best else middle
        mark = " ≈" if self.tied(peer) else ""
        fewer = f"n = {len(values)}" if len(values) < self.seeds else ""
        ends = f"{self.told(min(values))}–{self.told(max(values))}" if len(values) > 1 else ""
        more = "; ".join(filter(None, (ends, fewer)))
        return f"{middle}{mark} ({more})" if more else middle + mark

    @property
    def seeds(self) -> int:
        """How many there are of the peer that has most."""
        return max(map(len, self.runs.values()))

    def told(self, value: float) -> str:
        """Two digits behind the point, three for nats."""
        return f"{value:.3f}" if self.one.metric == "nats" else f"{value:.2f}"

    def verdict(self) -> str:
        """Whether ours is the best or tied, or by how much it is not, beside the best of those with
        most seeds.
        """
        if OWN not in self.runs or len(self.runs) < 2:
            return ""
        others = {peer: seeds for peer, seeds in self.runs.items() if peer != OWN}
        most = max(map(len, others.values()))
        rival = Line(
            self.name, {p: seeds for p, seeds in others.items() if len(seeds) == most}
        ).best
        gaps = self.gaps(OWN, rival)
        if not gaps:
            return ""
        gap = statistics.median(gaps)
        spread = (
            f"{self.told(min(gaps))} to {self.told(max(gaps))}" if len(gaps) > 1 else "one seed"
        )
        unit = {"accuracy": "points", "r2": "points of R²", "nats": "nats"}[self.one.metric]
        word = "tied" if min(gaps) <= 0 <= max(gaps) else "best" if gap > 0 else "**missed**"
        by = f"{'+' if gap >= 0 else '−'}{self.told(abs(gap))} {unit} to {TITLES[rival]} ({spread})"
        return f"- {self.name}: {word}; {by}"


TITLES = {
    "nomagic": "nomagic fit",
    "mlp": "scikit-learn MLP",
    "trees": "HistGradientBoosting",
    "skorch": "skorch",
    "lightning": "Lightning",
    "fastai": "fastai",
    "autogluon": "AutoGluon",
}


def lines(rows: Sequence[dict[str, Any]]) -> list[Line]:
    """One for each data set that has results, in the order of `SETS`."""
    found: list[Line] = []
    for name in SETS:
        runs: dict[str, dict[int, float]] = {}
        for row in rows:
            if row["set"] == name and "value" in row:
                runs.setdefault(row["peer"], {})[row["seed"]] = row["value"]
        found += [Line(name, runs)] if runs else []
    return found


def grid(rows: Sequence[dict[str, Any]]) -> str:
    """The scores, side by side."""
    head = ["data set", "metric", "s", "seeds", *TITLES.values()]
    out = [f"| {' | '.join(head)} |", "| --- | --- | ---: | ---: |" + " ---: |" * len(TITLES)]
    for line in lines(rows):
        budget = next(row["budget"] for row in rows if row["set"] == line.name)
        cells = [line.name, METRICS[line.one.metric], f"{budget:.0f}", str(line.seeds)]
        out.append(f"| {' | '.join([*cells, *map(line.cell, TITLES)])} |")
    return "\n".join(out) + "\n"


METRICS = {"accuracy": "accuracy, %", "r2": "R² × 100", "nats": "nats a character, lower is better"}


def spent(rows: Sequence[dict[str, Any]]) -> str:
    """The seconds that each took, beside what it was given; what is over is marked."""
    out = [f"| data set | {' | '.join(TITLES.values())} |", "| --- |" + " ---: |" * len(TITLES)]
    for line in lines(rows):
        cells: list[str] = []
        for peer in TITLES:
            own = [r for r in rows if r["set"] == line.name and r["peer"] == peer and "value" in r]
            if not own:
                cells.append("–")
                continue
            seconds = statistics.median(row["seconds"] for row in own)
            mark = " !" if seconds > OVER * own[0]["budget"] else ""
            start = statistics.median(row["start"] for row in own)
            cells.append(f"{seconds:.0f}{mark} + {start:.0f}")
        out.append(f"| {line.name} | {' | '.join(cells)} |")
    return "\n".join(out) + "\n"


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    whens = sorted(row["when"] for row in rows)
    loads = [row["load"] for row in rows]
    verdicts = [said for line in lines(rows) if (said := line.verdict())]
    failed = {f"- {TITLES[r['peer']]}, {r['set']}: {r['reason']}" for r in rows if "reason" in r}
    where = (
        f"{whens[0]} to {whens[-1]}, {os.cpu_count()} cores, python "
        f"{platform.python_version()}, torch {torch.__version__}; load average before a run "
        f"{min(loads):.1f} to {max(loads):.1f}. The test score: median and range over the "
        "seeds, and how many there are where they are fewer (n); the best in bold; ≈ was as good "
        "as the best on one seed or more. How it is "
        "measured: [README](../README.md). Raw numbers: fit.json."
    )
    return "\n".join(
        [
            "# A model in the same time",
            "",
            where,
            "",
            grid(rows),
            "Ours beside the best of the others, on the same seeds (median, range):",
            "",
            *verdicts,
            "",
            "Seconds that were taken + start-up; ! is more than a tenth over the budget:",
            "",
            spent(rows),
            *(["Without a result:", "", *sorted(failed), ""] if failed else []),
        ]
    )


def write(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """The page, and the raw numbers beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fit.md").write_text(page(rows))
    (folder / "fit.json").write_text(json.dumps(rows, indent=1) + "\n")


def merged(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with one in place of an earlier one of the same data set, seed and peer."""
    same = ("set", "seed", "peer")
    return [one for one in rows if any(one[key] != row[key] for key in same)] + [row]


def chosen(parser: argparse.ArgumentParser, given: str, known: Sequence[str]) -> list[str]:
    """The names that are given, or an error that says which there are."""
    names = given.split(",")
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sets", default="", metavar="A,B", help="these data sets")
    parser.add_argument("--peers", default="", metavar="A,B", help="these peers")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--budget", type=float, help="seconds, in place of each set's own")
    parser.add_argument("--python", default="", metavar="FILE,FILE", help="further interpreters")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--keep", type=Path, help="a folder where models and evidence are kept")
    parser.add_argument("--quick", action="store_true", help="a few seconds each: does it run?")
    options = parser.parse_args()
    sets = chosen(parser, options.sets or ",".join(QUICK if options.quick else NAMES), list(SETS))
    options.peers = chosen(parser, options.peers or ",".join(PEERS), list(PEERS))
    options.pythons = (sys.executable, *filter(None, options.python.split(",")))
    if options.quick:
        options.seeds, options.budget = 1, options.budget or SHORT
    file = options.out / "fit.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    for name in sets:
        for seed in range(options.first, options.first + options.seeds):
            for row in measure(name, seed, options):
                rows = merged(rows, row)
                write(rows, options.out)  # what is done is not lost
                print(name, seed, row["peer"], row.get("value", row.get("reason")), flush=True)
    print(page(rows))


if __name__ == "__main__":
    main()
