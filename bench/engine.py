"""How fast many seeds of one setup are trained: our engines against loops and tuners around a loop.

One run, alternating: for each setup and number of seeds K, every rival trains the same K seeds of
the same network on the same data for the same epochs. Start-up (imports, worker processes, the
cluster) is left out of every figure and told apart. ``sequential`` is the plain PyTorch loop that a
user would write, with torch's default threads, ``one thread`` the same on one.

Then the same question is put to ours and to the tuners: does this trick help? Ours takes lots of
eight pairs until it is decided, the others a number of pairs that was fixed before; the test is the
same.

usage: python bench/engine.py [--setups mlp,cnn] [--seeds 1,8,32,64] [--rounds N] [--quick]
                              [--questions batch-norm,tenth] [--peers-at 8]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nomagic.datasets import Data, data
from nomagic.engine import choose, plain, processes, stacked
from nomagic.engine.plan import Plan
from nomagic.trial.statistics import Pairs, judge, lots
from nomagic.words import Form, Setup

RESULTS = Path(__file__).parent / "results"
ADAM = partial(torch.optim.Adam, lr=1e-3)


def mlp(form: Form) -> nn.Module:
    """Two hidden layers of 128."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(form.features, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, form.classes),
    )


def cnn(form: Form, norm: bool = True) -> nn.Module:
    """Two convolutions with pooling, and batch norm if asked for."""
    side = form.shape[-1] // 4
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16) if norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32) if norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * side * side, form.classes),
    )


class Transformer(nn.Module):
    """Two blocks over the rows of an image, width 32."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.rows = form.shape[-2]
        self.embed = nn.Linear(form.shape[-1], 32)
        self.place = nn.Parameter(torch.randn(self.rows, 32) * 0.02)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(32, form.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.reshape(len(x), self.rows, -1)) + self.place
        return self.head(self.blocks(h).mean(1))


class Block(nn.Module):
    """Attention and a small MLP, each with a norm before and a skip around."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.other = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attend = nn.MultiheadAttention(32, 4, batch_first=True)
        self.net = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, h: Tensor) -> Tensor:
        n = self.norm(h)
        h = h + self.attend(n, n, n, need_weights=False)[0]
        return h + self.net(self.other(h))


def images(name: str, count: int) -> Data:
    """The first images of a data set, as (count, 1, height, width)."""
    found = data(name)
    x = found.x[:count].float()
    x = x if x.ndim == 4 else x.reshape(count, 1, *(x.shape[1:] if x.ndim == 3 else (8, 8)))
    return replace(found, x=x, y=found.y[:count], test_rows=None)


def setups() -> dict[str, Setup]:
    """The setups of the table."""
    digits = images("digits", 1_600)
    return {
        "mlp, digits": Setup(digits, mlp, optimizer=ADAM, epochs=5, batch_size=64),
        "cnn, digits": Setup(digits, cnn, optimizer=ADAM, epochs=3, batch_size=64),
        "cnn, fashion": Setup(
            images("fashion-mnist", 2_000), cnn, optimizer=ADAM, epochs=1, batch_size=64
        ),
        "transformer, digits": Setup(digits, Transformer, optimizer=ADAM, epochs=2, batch_size=64),
    }


# -- the rivals: each trains these seeds and returns their accuracies ------------------------------


class Loop:
    """What a user writes: one seed after the other."""

    name = "sequential"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.x, self.y = plan.data.batch(torch.arange(len(plan.data)))

    def one(self, seed: int) -> float:
        """Train one seed; the held-out accuracy."""
        setup, part = self.plan.setup, self.plan.part(seed)
        torch.manual_seed(seed)
        model = setup.model(self.plan.form)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 * setup.rate)
        x, y = self.x[part.train], self.y[part.train]
        for _ in range(setup.epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(setup.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            found = model(self.x[part.held]).argmax(1)
        return float((found == self.y[part.held]).float().mean())

    def run(self, seeds: Sequence[int]) -> list[float]:
        """All of them."""
        return [self.one(seed) for seed in seeds]


class OneThread(Loop):
    """The same on one thread: small networks gain little from more, and lose on a busy machine."""

    name = "one thread"

    def run(self, seeds: Sequence[int]) -> list[float]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().run(seeds)
        finally:
            torch.set_num_threads(threads)


class Optuna(Loop):
    """Optuna around the loop: a trial a seed, in this process."""

    name = "optuna"

    def run(self, seeds: Sequence[int]) -> list[float]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.BruteForceSampler(),
        )
        study.optimize(
            lambda trial: self.one(trial.suggest_categorical("seed", list(seeds))),
            n_trials=len(seeds),
        )
        return [trial.value for trial in study.trials]


class Tune(Loop):
    """Ray Tune around the loop: a trial a seed, one core each, on a cluster that is already up."""

    name = "ray tune"

    def run(self, seeds: Sequence[int]) -> list[float]:
        import ray
        from ray import tune

        ray.init(num_cpus=os.cpu_count(), logging_level="error", ignore_reinit_error=True)

        def trial(config: dict[str, Any]) -> None:
            torch.set_num_threads(1)
            tune.report({"accuracy": self.one(config["seed"])})

        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(seeds))},
            run_config=tune.RunConfig(verbose=0),
        )
        return [result.metrics["accuracy"] for result in tuner.fit()]


class Lightning(Loop):
    """A Lightning Trainer for each seed, with everything that it logs and saves turned off."""

    name = "lightning"

    def one(self, seed: int) -> float:
        import lightning
        from torch.utils.data import DataLoader, TensorDataset

        plan, part = self.plan, self.plan.part(seed)
        lightning.seed_everything(seed, verbose=False)

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = plan.setup.model(plan.form)

            def training_step(self, batch: Any, _: int) -> Tensor:
                return F.cross_entropy(self.net(batch[0]), batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.Adam(self.parameters(), lr=1e-3 * plan.setup.rate)

        module = Module()
        trainer = lightning.Trainer(
            max_epochs=plan.setup.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        held = TensorDataset(self.x[part.train], self.y[part.train])
        trainer.fit(module, DataLoader(held, batch_size=plan.setup.batch_size, shuffle=True))
        module.eval()
        with torch.no_grad():
            found = module.net(self.x[part.held]).argmax(1)
        return float((found == self.y[part.held]).float().mean())


class Ours(Loop):
    """One of our engines."""

    def __init__(self, plan: Plan, how: str) -> None:
        super().__init__(plan)
        self.name = how
        self.train: Callable[..., Any] = {
            "stacked": stacked.train,
            "stacks": lambda plan, seeds: processes.train(plan, seeds, stacked.train),
            "processes": processes.train,
            "plain": plain.train,
        }[how]

    def run(self, seeds: Sequence[int]) -> list[float]:
        return [one.scores["accuracy"] for one in self.train(self.plan, list(seeds))]


def rivals(plan: Plan, peers: bool) -> list[Loop]:
    """The loops and our engines, and the peers that are installed."""
    ours = [Ours(plan, how) for how in ("stacked", "stacks", "processes", "plain")]
    if stacked.reason_against(plan):
        ours = ours[2:]
    return [Loop(plan), OneThread(plan), *(installed(plan) if peers else []), *ours]


def installed(plan: Plan) -> list[Loop]:
    """The peers that are installed and can run the setup."""
    others: list[Loop] = []
    for module, kind in (("optuna", Optuna), ("ray.tune", Tune), ("lightning", Lightning)):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is not None and runs(one := kind(plan)):
            others.append(one)
    return others


def runs(rival: Loop) -> bool:
    """Whether it gets through two seeds; what it needs to start is then there, too."""
    try:
        rival.run([0, 1])
    except Exception as error:
        print(f"{rival.name} is left out: {error}", file=sys.stderr)
        return False
    return True


# -- measuring -------------------------------------------------------------------------------------


def measure(name: str, setup: Setup, count: int, rounds: int, peers: bool) -> list[dict[str, Any]]:
    """Seconds a seed of each rival, alternating; all warm up on two seeds."""
    plan = Plan(setup)
    runners = rivals(plan, peers)
    seeds = list(range(count))
    for runner in runners:
        if isinstance(runner, (Ours, OneThread)) or type(runner) is Loop:
            runner.run(seeds[:2])
    rows: list[dict[str, Any]] = []
    for turn in range(rounds):
        for runner in runners if turn % 2 == 0 else runners[::-1]:
            began, busy = time.perf_counter(), cpu()
            found = runner.run(seeds)
            spent, used = ((time.perf_counter() - began) / count, (cpu() - busy) / count)
            rows.append(
                {
                    "setup": name,
                    "seeds": count,
                    "rival": runner.name,
                    "round": turn,
                    "seconds": spent,
                    "cpu": used,
                    "accuracy": statistics.mean(found),
                    "load": os.getloadavg()[0],
                }
            )
            print(f"{name} K={count} {runner.name}: {spent:.3f} s a seed", file=sys.stderr)
    chosen = choose.choose(plan, count)
    rows.append({"setup": name, "seeds": count, "rival": "chosen", "how": chosen.how})
    return rows


def cpu() -> float:
    """CPU seconds so far, those of workers included, which have been told to end."""
    for worker in multiprocessing.active_children():
        worker.join()
    return sum(sum(resource.getrusage(who)[:2]) for who in BOTH)


BOTH = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

PAIRS = 16
"""Pairs that the tuners train, fixed before."""


def questions() -> dict[str, tuple[Setup, Setup]]:
    """A setup and the same with a trick."""
    digits = images("digits", 1_600)
    bare = Setup(
        digits, partial(cnn, norm=False), optimizer=ADAM, epochs=3, batch_size=64, metric="accuracy"
    )
    return {
        "batch-norm helps": (bare, replace(bare, model=cnn)),
        "a tenth of the rate hurts": (bare, replace(bare, rate=0.1)),
    }


def ask(name: str, arms: tuple[Setup, Setup], turn: int, peers: bool) -> list[dict[str, Any]]:
    """Seconds to a verdict of each rival on seeds of this round."""
    plans = Plan(arms[0]), Plan(arms[1], Plan(arms[0]).data)
    how = [choose.choose(plan).how for plan in plans]
    lineup: list[tuple[str, list[Loop]]] = [
        ("nomagic", [Ours(plan, one) for plan, one in zip(plans, how, strict=True)]),
        ("sequential", [Loop(plan) for plan in plans]),
    ]
    others = installed(plans[0]) if peers else []
    lineup += [(one.name, [one, type(one)(plans[1])]) for one in others]
    rows: list[dict[str, Any]] = []
    for rival, pair in lineup if turn % 2 == 0 else lineup[::-1]:
        began = time.perf_counter()
        said, pairs = decide(pair, [8, 8] if rival == "nomagic" else [PAIRS], 1_000 * turn)
        spent = time.perf_counter() - began
        rows.append({"question": name, "rival": rival, "seconds": spent, "verdict": said})
        rows[-1] |= {"pairs": pairs, "round": turn, "load": os.getloadavg()[0]}
        print(f"{name}? {rival}: {said} after {pairs} pairs, {spent:.1f} s", file=sys.stderr)
    return rows


def decide(pair: list[Loop], portions: list[int], first: int) -> tuple[str, int]:
    """The decision, and the pairs that it took."""
    scores: list[list[float]] = [[], []]
    for size in portions:
        done = len(scores[0])
        for found, runner in zip(scores, pair, strict=True):
            found += runner.run(range(first + done, first + done + size))
        judged = judge({"arm": Pairs(*scores)}, lots(PAIRS))["arm"]
        if judged.final:
            break
    return judged.decision, len(scores[0])


LOOPS = ("sequential", "one thread")
PEERS = ("optuna", "ray tune", "lightning")
OURS = ("stacked", "stacks", "processes", "plain")
ORDER = (*LOOPS, *PEERS, *OURS)


def table(rows: list[dict[str, Any]]) -> str:
    """Runs a minute, the speed-up of our fastest, and what the engine chose by itself."""
    out = [
        "| setup | K | "
        + " | ".join(ORDER)
        + " | ours / sequential | ours / faster loop | CPU | chosen |",
        "| --- | ---: |" + " ---: |" * (len(ORDER) + 3) + " --- |",
    ]
    for name, count in dict.fromkeys((row["setup"], row["seeds"]) for row in rows):
        here = [row for row in rows if (row["setup"], row["seeds"]) == (name, count)]
        spent = {
            rival: middle(here, rival, "seconds")
            for rival in ORDER
            if any(row["rival"] == rival for row in here)
        }
        best = min((how for how in OURS if how in spent), key=lambda how: spent[how])
        ours = spent[best]
        chosen = next((row["how"] for row in here if row["rival"] == "chosen"), "")
        cells = [f"{60 / spent[rival]:.0f}" if rival in spent else "–" for rival in ORDER]
        ratio = f"{spent['sequential'] / ours:.2f}"
        faster = f"{min(spent[loop] for loop in LOOPS if loop in spent) / ours:.2f}"
        busy = f"{middle(here, 'one thread', 'cpu') / middle(here, best, 'cpu'):.2f}"
        lost = f"{chosen} ({spent[chosen] / ours:.2f})" if chosen else ""
        out.append(
            f"| {name} | {count} | {' | '.join(cells)} | {ratio} | {faster} | {busy} | {lost} |"
        )
    return "\n".join(out) + "\n"


def middle(rows: list[dict[str, Any]], rival: str, what: str) -> float:
    """The median of a rival's rounds."""
    return statistics.median(row[what] for row in rows if row["rival"] == rival)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """Seconds to a verdict, and how many times ours."""
    out = ["| question | rival | pairs | verdict | seconds | times ours |"]
    out.append("| --- | --- | ---: | --- | ---: | ---: |")
    for name in dict.fromkeys(row["question"] for row in rows):
        here = [row for row in rows if row["question"] == name]
        spent = {
            rival: middle(here, rival, "seconds")
            for rival in dict.fromkeys(row["rival"] for row in here)
        }
        for rival, seconds in sorted(spent.items(), key=lambda item: item[1]):
            own = [row for row in here if row["rival"] == rival]
            said = ", ".join(sorted({row["verdict"] for row in own}))
            pairs = statistics.median(row["pairs"] for row in own)
            times = seconds / spent["nomagic"]
            out.append(f"| {name} | {rival} | {pairs:.0f} | {said} | {seconds:.1f} | {times:.1f} |")
    return "\n".join(out) + "\n"


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--setups", default="", help="those whose names contain one of these")
    parser.add_argument("--seeds", default="1,8,32,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="one round of two seeds")
    parser.add_argument("--peers-at", default="8", help="K with the peers; '' for none")
    parser.add_argument("--questions", default="", help="those whose names contain one of these")
    options = parser.parse_args()
    counts = [2] if options.quick else numbers(options.seeds)
    rounds = 1 if options.quick else options.rounds
    rows: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for name, setup in setups().items():
        for count in counts if wanted(name, options.setups) else []:
            peers = count in numbers(options.peers_at)
            rows += measure(name, setup, count, rounds, peers)
            write(rows, asked, options.out)
    for turn in range(rounds):
        for name, arms in questions().items():
            if wanted(name, options.questions):
                asked += ask(name, arms, turn, bool(options.peers_at))
                write(rows, asked, options.out)
    print(table(rows) + "\n" + verdicts(asked))


def numbers(text: str) -> list[int]:
    return [int(count) for count in text.split(",") if count]


def wanted(name: str, parts: str) -> bool:
    """Whether a name contains one of these; all do where none is given."""
    return not parts or any(part in name for part in parts.split(","))


def write(rows: list[dict[str, Any]], asked: list[dict[str, Any]], folder: Path) -> None:
    """The tables, and the raw numbers beside them."""
    loads = [row["load"] for row in (*rows, *asked) if "load" in row]
    head = (
        f"# Runs a minute\n\n{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores (load "
        f"average {min(loads):.0f} to {max(loads):.0f}), python {platform.python_version()}, torch "
        f"{torch.__version__}. Medians of alternating rounds, start-up left out. How it is "
        f"measured: [README](../README.md). Raw numbers: engine.json.\n\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    whole = head + table(rows)
    if asked:
        whole += f"\n# Seconds to a verdict\n\n{verdicts(asked)}"
    (folder / "engine.md").write_text(whole)
    (folder / "engine.json").write_text(json.dumps({"runs": rows, "verdicts": asked}, indent=1))


if __name__ == "__main__":
    main()
