"""The store of finished runs: what names a run, who may train it, and what a kill leaves behind."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nomagic.engine.plan import Outcome
from nomagic.trial import store as stores
from nomagic.trial.fingerprint import NoFingerprintError, fingerprint
from nomagic.trial.runs import setup_name
from nomagic.trial.store import Store, StoreError
from nomagic.words import Edit, Setup

# ---- what names a run ----


def model(width: int = 8):
    return lambda form: nn.Sequential(
        nn.Linear(form.features, width), nn.ReLU(), nn.Linear(width, form.outputs)
    )


def named(source: str, name: str = "f"):
    """A function of a module of the user's, from its source."""
    space: dict[str, object] = {"__name__": "users"}
    exec(source, space)
    return space[name]


def test_equal_values_have_equal_names():
    assert fingerprint(model(8), {"lr": 0.1}) == fingerprint(model(8), {"lr": 0.1})
    x = torch.arange(12.0).reshape(3, 4)
    assert fingerprint(x) == fingerprint(x.clone())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (model(8), model(9)),
        (partial(torch.optim.SGD, lr=0.1), partial(torch.optim.SGD, lr=0.2)),
        (partial(torch.optim.SGD, lr=0.1), partial(torch.optim.Adam, lr=0.1)),
        (named("def f(x, a=1): return x + a"), named("def f(x, a=2): return x + a")),
        (named("def f(x): return x + 1"), named("def f(x): return x + 2")),
        (
            named("def g(x): return x\ndef f(x): return g(x)"),
            named("def g(x): return -x\ndef f(x): return g(x)"),
        ),
        (
            named("class f:\n    def run(self, x): return x * 2"),
            named("class f:\n    def run(self, x): return x * 3"),
        ),
        (named("K = 3\ndef f(x): return x + K"), named("K = 4\ndef f(x): return x + K")),
        (torch.zeros(4), torch.tensor([0.0, 0.0, 0.0, 1e-30])),
        (torch.zeros(4), torch.zeros(2, 2)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int32)),
        (np.zeros(3), np.zeros(3, dtype=np.float32)),
        (1, 1.0),
        (True, 1),
        ("1", 1),
        ((1, (2, 3)), (1, 2, 3)),
        ({"a": 1}, {"b": 1}),
        (nn.Linear(2, 2), nn.Linear(2, 2)),  # their weights differ
        (torch.relu, torch.tanh),
    ],
)
def test_any_change_gives_another_name(one: object, other: object):
    assert fingerprint(one) != fingerprint(other)


def test_the_name_does_not_hang_on_the_process():
    code = (
        "from functools import partial; import torch\n"
        "from nomagic.trial.fingerprint import fingerprint\n"
        "from nomagic.datasets import data\n"
        "def double(x, scale=2): return x * scale if x in {'a', 'b', 'c'} else x\n"
        "print(fingerprint(double, partial(torch.optim.AdamW, lr=1e-3), {'b', 'a'},"
        " data('digits').x, torch.nn.Linear))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_cycles_end():
    loop: list[object] = [1]
    loop.append(loop)
    assert len(fingerprint(loop)) == 32


CONTEXT: ContextVar[int] = ContextVar("context", default=1)


def in_a_context(x: int) -> int:
    return x + CONTEXT.get()


def test_variables_of_a_context_have_a_name() -> None:
    assert len(fingerprint(in_a_context)) == 32


def test_what_has_no_content_has_no_name(tmp_path: Path):
    with (tmp_path / "file").open("w") as file, pytest.raises(NoFingerprintError, match="TextIO"):
        fingerprint([file])


def test_setups_are_told_apart_by_all_that_changes_a_run():
    setup = Setup(data="digits", model=model())
    edit = Edit("first", lambda model, _: model)
    others = [
        replace(setup, epochs=11),
        replace(setup, rate=2.0),
        replace(setup, edits=(edit,)),
        replace(setup, draw=1),
        replace(setup, model=model(16)),
        replace(setup, metric=lambda outputs, _: float(outputs.mean())),
    ]
    names = {setup_name(one, "data") for one in (setup, *others)}
    assert len(names) == 1 + len(others)
    assert setup_name(setup, "data") != setup_name(setup, "other data")


def test_the_name_and_a_known_metric_do_not_count():
    setup = Setup(data="digits", model=model())
    assert setup_name(replace(setup, name="mine", metric="loss"), "d") == setup_name(setup, "d")


# ---- runs ----


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trials.sqlite"


def test_an_outcome_comes_back_as_it_was(file: Path):
    kept = Outcome(3, {"accuracy": 0.5, "auc": float("nan")}, [1.0, 0.5], "", 2, 1.5, 1e-4, 100)
    failed = Outcome(4, failed="nan", curve=[float("inf")])
    store = Store(file)
    store.save("setup", [kept, failed])
    store.close()
    found = Store(file).runs("setup", [3, 4, 5])
    assert sorted(found) == [3, 4]
    assert repr(found[3]) == repr(kept)
    assert repr(found[4]) == repr(failed)


def test_runs_belong_to_their_setup(file: Path):
    store = Store(file)
    store.save("one", [Outcome(1)])
    assert store.runs("other", [1]) == {}


def test_the_first_of_two_equal_runs_stays(file: Path):
    store = Store(file)
    store.save("setup", [Outcome(1, {"loss": 1.0})])
    store.save("setup", [Outcome(1, {"loss": 2.0})])
    assert store.runs("setup", [1])[1].scores == {"loss": 1.0}


def test_a_run_is_claimed_once(file: Path):
    one, other = Store(file), Store(file)
    assert one.claim("setup", [1, 2, 3]) == [1, 2, 3]
    assert other.claim("setup", [2, 3, 4]) == [4]
    one.save("setup", [Outcome(1)])
    one.release("setup", [2])
    assert other.claim("setup", [1, 2, 3]) == [2]
    one.close()
    assert other.claim("setup", [3]) == [3]


def test_others_claims_are_not_given_back(file: Path):
    one, other = Store(file), Store(file)
    one.claim("setup", [1])
    other.release("setup", [1])
    assert other.claim("setup", [1]) == []


def test_the_claim_of_a_dead_process_lapses(file: Path):
    code = (
        "import os, signal, sys; from nomagic.trial.store import Store\n"
        "print(Store(sys.argv[1]).claim('setup', [1, 2])); sys.stdout.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "[1, 2]\n")
    assert Store(file).claim("setup", [1, 2]) == [1, 2]


def test_the_claim_of_another_machine_lapses_with_its_lease(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stores, "LEASE", 0.3)
    far, near = Store(file), Store(file)
    far.me = replace(far.me, host="elsewhere", process=1)
    far.claim("setup", [1])
    assert near.claim("setup", [1]) == []
    time.sleep(0.4)
    assert near.claim("setup", [1]) == [1]


def test_the_first_plan_holds(file: Path):
    one, other = Store(file), Store(file)
    assert one.plan("trial") is None
    assert one.keep("trial", {"pairs": 24}) == {"pairs": 24}
    assert other.keep("trial", {"pairs": 48}) == {"pairs": 24}


def test_without_a_file_it_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store()
    store.save("setup", [Outcome(1)])
    assert list(store.runs("setup", [1])) == [1]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_is_refused(file: Path):
    file.write_text("a file of something else, and long enough to be looked at" * 20)
    with pytest.raises(StoreError, match=r"trials\.sqlite cannot be used as a store"):
        Store(file)


def test_another_database_is_left_alone(file: Path):
    base = sqlite3.connect(file)
    base.execute("CREATE TABLE theirs (x)")
    base.close()
    with pytest.raises(StoreError, match="a database of something else"):
        Store(file)
    base = sqlite3.connect(file)
    tables = base.execute("SELECT name FROM sqlite_master").fetchall()
    base.close()
    assert tables == [("theirs",)]


# ---- real processes ----

PROGRAM = """
import json, sys, time
from pathlib import Path
import torch
from torch import nn
import nomagic as nm
from nomagic.trial import runs

store, log, pause, together = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
trained = runs._trained

def logged(variant, seeds):
    time.sleep(pause)
    log.touch()
    while not all(log.with_name(other).exists() for other in together):
        time.sleep(0.01)
    for outcomes in trained(variant, seeds):
        with open(log, "a") as file:
            file.writelines(f"{variant.name} {one.seed}\\n" for one in outcomes)
        yield outcomes

runs._trained = logged
torch.manual_seed(0)
x = torch.randn(160, 6)
y = ((x * torch.arange(6.0)).sum(1) + 4 * torch.randn(160) > 0).long()

def model(form):
    return nn.Sequential(nn.Linear(form.features, 8), nn.Tanh(), nn.Linear(8, form.outputs))

setup = nm.Setup(data=(x, y), model=model, epochs=1, batch_size=32)
trial = nm.try_(setup, ["weight-decay", "batch-norm"], budget="5m", store=store)
print(json.dumps([[v.arm, v.decision, v.effect, v.low, v.high, v.pairs] for v in trial.verdicts]))
"""


def start(folder: Path, log: str, pause: float, *together: str) -> subprocess.Popen[str]:
    """A trial; it begins to train when those that log into ``together`` do, too."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, program, folder / "store", folder / log, str(pause), *together]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(file: Path) -> set[str]:
    base = sqlite3.connect(file)
    rows = base.execute("SELECT setup, seed FROM runs").fetchall()
    base.close()
    return {f"{setup} {seed}" for setup, seed in rows}


def wait_for_runs(file: Path, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if file.exists():
            try:
                if len(finished(file)) >= count:
                    return
            except sqlite3.OperationalError:  # not yet prepared
                pass
        time.sleep(0.02)
    raise AssertionError(f"there were not {count} runs within a minute")


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_without_losing_or_repeating_a_run(tmp_path: Path):
    store = tmp_path / "store"
    kept: set[str] = set()
    for count in (3, 30, 60):
        process = start(tmp_path, f"log {count}", 0.05)
        wait_for_runs(store, count)
        process.kill()
        process.communicate()
        assert kept <= finished(store)
        kept = finished(store)
    process = start(tmp_path, "log last", 0.0)
    out, _ = process.communicate(timeout=120)
    last = (tmp_path / "log last").read_text().splitlines()
    assert process.returncode == 0
    assert last
    assert not kept & set(last)
    alone = tmp_path / "alone"
    alone.mkdir()
    undisturbed, _ = start(alone, "log", 0.0).communicate(timeout=120)
    assert json.loads(out) == json.loads(undisturbed)


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path: Path):
    names = ("log one", "log other")
    both = [start(tmp_path, name, 0.02, *names) for name in names]
    outs = [process.communicate(timeout=120)[0] for process in both]
    logs = [(tmp_path / name).read_text().splitlines() for name in names]
    assert outs[0] == outs[1]
    assert all(logs), "each trained some"
    assert max(Counter([*logs[0], *logs[1]]).values()) == 1
    assert finished(tmp_path / "store") == {*logs[0], *logs[1]}
