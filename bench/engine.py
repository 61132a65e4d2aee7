"""How fast many seeds of one setup are trained: our engines against loops and tuners around a loop.

One run, alternating: for each setup and number of seeds K, every rival trains the same K seeds of
the same network on the same data for the same epochs. Start-up (imports, worker processes, the
cluster) is left out of every figure and told apart. ``sequential`` is the plain PyTorch loop that a
user would write, with torch's default threads.

usage: python bench/engine.py [--setups mlp,cnn] [--seeds 1,8,32,64] [--rounds N] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
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


def cnn(form: Form) -> nn.Module:
    """Two convolutions with batch norm and pooling."""
    side = form.shape[-1] // 4
    return nn.Sequential(
        nn.Unflatten(1, (1, form.shape[-2])) if len(form.shape) == 2 else nn.Identity(),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
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
        optimizer = ADAM(model.parameters())
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
                return ADAM(self.parameters())

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


def rivals(plan: Plan) -> list[Loop]:
    """Those that are installed."""
    ours = [Ours(plan, how) for how in ("stacked", "stacks", "processes", "plain")]
    if stacked.reason_against(plan):
        ours = ours[2:]
    others: list[Loop] = [Loop(plan)]
    for module, kind in (("optuna", Optuna), ("ray.tune", Tune), ("lightning", Lightning)):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is not None:
            others.append(kind(plan))
    return [*others, *ours]


# -- measuring -------------------------------------------------------------------------------------


def measure(name: str, setup: Setup, count: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds a seed of each rival, alternating; the first round warms up on two seeds."""
    plan = Plan(setup)
    runners = rivals(plan)
    seeds = list(range(count))
    for runner in runners:
        runner.run(seeds[:2])
    rows: list[dict[str, Any]] = []
    for turn in range(rounds):
        for runner in runners if turn % 2 == 0 else runners[::-1]:
            slow = runner.name in ("optuna", "ray tune", "lightning")
            own = seeds[:8] if slow and count > 8 else seeds
            began = time.perf_counter()
            found = runner.run(own)
            spent = (time.perf_counter() - began) / len(own)
            rows.append(
                {
                    "setup": name,
                    "seeds": count,
                    "rival": runner.name,
                    "round": turn,
                    "seconds": spent,
                    "trained": len(own),
                    "accuracy": statistics.mean(found),
                }
            )
            print(f"{name} K={count} {runner.name}: {spent:.3f} s a seed", file=sys.stderr)
    chosen = choose.choose(plan, count)
    rows.append({"setup": name, "seeds": count, "rival": "chosen", "how": chosen.how})
    return rows


ORDER = ("sequential", "optuna", "ray tune", "lightning", "stacked", "stacks", "processes", "plain")


def table(rows: list[dict[str, Any]]) -> str:
    """Runs a minute, the speed-up of our fastest, and what the engine chose by itself."""
    out = [
        "| setup | K | " + " | ".join(ORDER) + " | fastest of ours / sequential | chosen |",
        "| --- | ---: |" + " ---: |" * (len(ORDER) + 1) + " --- |",
    ]
    for name, count in dict.fromkeys((row["setup"], row["seeds"]) for row in rows):
        here = [row for row in rows if (row["setup"], row["seeds"]) == (name, count)]
        spent = {
            rival: statistics.median(row["seconds"] for row in here if row["rival"] == rival)
            for rival in ORDER
            if any(row["rival"] == rival for row in here)
        }
        ours = min(spent.get(how, float("inf")) for how in ("stacked", "stacks", "processes"))
        chosen = next((row["how"] for row in here if row["rival"] == "chosen"), "")
        cells = [f"{60 / spent[rival]:.0f}" if rival in spent else "–" for rival in ORDER]
        ratio = f"{spent['sequential'] / ours:.2f}"
        out.append(f"| {name} | {count} | {' | '.join(cells)} | {ratio} | {chosen} |")
    return "\n".join(out) + "\n"


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--setups", default="", help="those whose names contain one of these")
    parser.add_argument("--seeds", default="1,8,32,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="one round of two seeds")
    options = parser.parse_args()
    counts = [2] if options.quick else [int(count) for count in options.seeds.split(",")]
    rows: list[dict[str, Any]] = []
    for name, setup in setups().items():
        if options.setups and not any(part in name for part in options.setups.split(",")):
            continue
        for count in counts:
            rows += measure(name, setup, count, 1 if options.quick else options.rounds)
            write(rows, options.out)
    print(table(rows))


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """The table, and the raw numbers beside it."""
    head = (
        f"# Runs a minute\n\n{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, python "
        f"{platform.python_version()}, torch {torch.__version__}. Medians of alternating rounds, "
        f"start-up left out. How it is measured: [README](../README.md). Optuna, Ray Tune and "
        f"Lightning train 8 of more than 8 seeds. Raw numbers: engine.json.\n\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "engine.md").write_text(head + table(rows))
    (folder / "engine.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
