"""The tools, each used as its documentation says, on the source of one training script.

``said`` gives what a tool says of a script at the level of a warning or above: WARN and ERROR of
torch-audit, WARN and FAIL of torchtest2, the violated invariants of TrainCheck (it wants a healthy
run to learn from), warning and fault of nomagic. ``None`` beside a reason means that it could not
be used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import source as sources

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
LIMIT = 900
"""Seconds after which a peer's command is ended."""

AUDIT = """
import json as _json
from torch_audit import autopatch as _autopatch
_auditor = _autopatch({model}, optimizer=optimizer, every_n_steps={every})
"""
AUDIT_END = """
_auditor.finish(report=False)
_rows = [(f.severity.value, f.rule_id, f.module_path or "", f.message) for f in _auditor.findings]
_said = {" ".join(row[:3]).strip(): row[3] for row in _rows}
print("said", _json.dumps(_said))
"""
TEST = """
import json as _json
import torchtest2 as _torchtest2
import time as _time
_inputs, _targets = {batch}
_began = _time.process_time()
_report = _torchtest2.check_model(
    {model}, _inputs, _targets, loss_fn={loss}, optimizer=optimizer
)
print("took", _time.process_time() - _began)
print("said", _json.dumps({{f"{{r.status}} {{r.name}}": r.message for r in _report.results}}))
"""


@dataclass(frozen=True)
class Outcome:
    """What a tool said (name of the check -> its words), or why it could not be used."""

    said: dict[str, str] | None
    reason: str = ""
    output: str = ""


def python(command: list[str], folder: Path, source: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command on one thread in a folder that holds the source as ``train.py``."""
    if source:
        (folder / "train.py").write_text(source)
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    environment = {"NOMAGIC_DATA": str(data), "PYTHONHASHSEED": "0"} | os.environ
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAMS)}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=LIMIT,
    )


def nomagic(script: str) -> Outcome:
    """``nomagic check train.py``: nothing is edited."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "nomagic", "check", "--json", "report.json", "train.py"]
        done = python(command, folder, script)
        if not (folder / "report.json").is_file():
            return Outcome(None, last(done.stderr), done.stdout)
        findings = json.loads((folder / "report.json").read_text())["findings"]
    serious = [f for f in findings if f["severity"] != "note"]
    said = {f"{f['severity']} {f['practice']}": f"line {f['line']}: {f['seen']}" for f in serious}
    return Outcome(said, output=done.stdout)


def torch_audit(script: str, interpreter: str, every: int = 1, steps: str = "") -> Outcome:
    """torch-audit's `autopatch`, inserted before the training, and `finish` at the end.

    Not right after the optimizer: a scheduler that is made later would raise (torch asks for
    ``optimizer.step.__func__``, and torch-audit has put a plain function there).
    """
    model = sources.model_name(script)
    if not model:
        return Outcome(None, "it wants an nn.Module and the script has none")
    edited = sources.before_training(script, AUDIT.format(model=model, every=every))
    outcome = _run(edited + AUDIT_END, interpreter, steps)
    return _only(outcome, ("WARN", "ERROR"))


def torchtest2(script: str, interpreter: str, batch: str, loss: str, steps: str = "") -> Outcome:
    """torchtest2's `check_model` on one batch, inserted before the training."""
    model = sources.model_name(script)
    if not model:
        return Outcome(None, "it wants an nn.Module and the script has none")
    code = TEST.format(model=model, batch=batch, loss=loss)
    outcome = _run(sources.before_training(script, code), interpreter, steps)
    return _only(outcome, ("WARN", "FAIL"))


def collect(
    script: str, interpreter: str, folder: Path, options: list[str]
) -> subprocess.CompletedProcess[str]:
    """``traincheck-collect``: the script runs instrumented, its trace lies in folder/trace."""
    model = sources.model_name(script)
    tool = str(Path(interpreter).with_name("traincheck-collect"))
    track = ["--models-to-track", model] if model else []
    shutil.copy(PROGRAMS / "stopwatch.py", folder)  # it drops PYTHONPATH
    command = [tool, "--pyscript", "train.py", "--copy-all-files", *track, *options]
    command += ["--output-dir", "trace"]
    return python(command, folder, script)


def learn(script: str, interpreter: str, folder: Path) -> Path:
    """``traincheck-infer`` on a healthy run: the file of invariants; raises where it fails."""
    done = collect(script, interpreter, folder, [])
    if not list(folder.glob("trace/trace_*")):
        raise RuntimeError(f"traincheck-collect: {last(done.stdout + done.stderr)}")
    tool = str(Path(interpreter).with_name("traincheck-infer"))
    done = python([tool, "-f", "trace", "-o", "invariants.json"], folder)
    if not (folder / "invariants.json").is_file():
        raise RuntimeError(f"traincheck-infer: {last(done.stderr)}")
    return folder / "invariants.json"


def violated(script: str, interpreter: str, invariants: Path) -> Outcome:
    """``traincheck-collect`` with the invariants, then ``traincheck-check``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(invariants, folder / "invariants.json")
        done = collect(script, interpreter, folder, ["--invariants", "invariants.json"])
        if not list(folder.glob("trace/trace_*")):
            return Outcome(None, last(done.stdout + done.stderr))
        tool = str(Path(interpreter).with_name("traincheck-check"))
        options = ["-f", "trace", "-i", "invariants.json", "-o", "result", "--no-html-report"]
        done = python([tool, *options], folder)
        summary = next(folder.glob("result/**/violations_summary.json"), None)
        if summary is None:
            return Outcome(None, f"traincheck-check: {last(done.stderr)}")
        rows = json.loads(summary.read_text())["violations"]
    said = {row["display_name"]: f"{row['occurrences']} times" for row in rows}
    return Outcome(said, output=done.stdout)


def _run(edited: str, interpreter: str, steps: str) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        extra = ["--steps", steps] if steps else []
        done = python([interpreter, "train.py", *extra], Path(name), edited)
    found = re.search(r"^said (\{.*\})$", done.stdout, re.MULTILINE)
    if found is None:
        return Outcome(None, last(done.stderr), done.stdout)
    return Outcome(json.loads(found[1]), last(done.stderr), done.stdout)


def _only(outcome: Outcome, levels: tuple[str, ...]) -> Outcome:
    if outcome.said is None:
        return outcome
    kept = {name: words for name, words in outcome.said.items() if name.startswith(levels)}
    return Outcome(kept, outcome.reason, outcome.output)


def last(text: str) -> str:
    """The last line of an error."""
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
